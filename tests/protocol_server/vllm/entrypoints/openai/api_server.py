"""Speaks the part of vLLM's protocol that the client uses, with transformers behind it.

It is no vLLM: it stands in for it where client and process control are tested on any machine.
`test_vllm.py` runs the same tests against a real one where `VLLM_PYTHON` names it.
"""

import argparse
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

from agent.core.local_model import LocalModel, SamplingSettings

# What else may shape the distribution, and the values at which it does not: vLLM's own defaults.
NEUTRAL = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
KNOWN = {
    "/v1/completions": {
        *("model", "prompt", "max_tokens", "temperature", "seed", "logprobs", "return_token_ids"),
        *("stop_token_ids", "skip_special_tokens", *NEUTRAL),
    },
    "/v1/chat/completions": {"model", "messages", "max_tokens", "temperature", "seed"},
}


def complete(
    model: LocalModel, body: dict[str, Any], guard: threading.Lock, raw: bool = False
) -> dict[str, Any]:
    with guard:
        model.temperature = body.get("temperature", 1.0)
        model._max_new_tokens = body["max_tokens"]
        ids, logprobs = model.sample([body["prompt"]], [body.get("seed", 0)])[0]
        rows = distributions(model, body["prompt"], ids, 1.0 if raw else model.temperature)
    choice: dict[str, Any] = {"index": 0, "text": model.tokenizer.decode(ids)}
    if "logprobs" in body:
        if raw:
            logprobs = [row[token] for row, token in zip(rows, ids, strict=True)]
        choice["logprobs"] = {"token_logprobs": logprobs}
        if body["logprobs"]:
            choice["logprobs"]["top_logprobs"] = [{"likeliest": max(row)} for row in rows]
    if body.get("return_token_ids"):
        choice["token_ids"] = ids
    return {"choices": [choice]}


def distributions(
    model: LocalModel, prompt: list[int], ids: list[int], temperature: float
) -> list[list[float]]:
    with torch.inference_mode():
        logits = model.model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
    return (logits / temperature).log_softmax(-1).tolist()


def chat(model: LocalModel, body: dict[str, Any], guard: threading.Lock) -> dict[str, Any]:
    """The same with messages in and text out, as the model's own template has it."""
    asked = {"tokenize": True, "add_generation_prompt": True, "return_dict": False}
    prompt = model.tokenizer.apply_chat_template(body["messages"], **asked)
    request = {"return_token_ids": True, **body, "prompt": prompt}
    ids = complete(model, request, guard)["choices"][0]["token_ids"]
    ended = ids[-1] == model.tokenizer.eos_token_id
    message = {"role": "assistant", "content": model.tokenizer.decode(ids[:-1] if ended else ids)}
    return {
        "choices": [{"message": message, "finish_reason": "stop" if ended else "length"}],
        "usage": {"prompt_tokens": len(prompt), "completion_tokens": len(ids)},
    }


def shaping(options: argparse.Namespace) -> dict[str, float]:
    """What requests are given that do not say it: the model's own, unless vLLM's are asked for."""
    if options.generation_config == "vllm":
        return NEUTRAL
    return NEUTRAL | json.loads((Path(options.model) / "generation_config.json").read_text())


def next_fault(guard: threading.Lock) -> str:
    """What is to go wrong now: the first line of the file FAULTS, which is taken out of it."""
    path = Path(os.environ.get("FAULTS", "/nowhere"))
    with guard:
        if not path.is_file():
            return ""
        fault, _, rest = path.read_text().partition("\n")
        path.write_text(rest)
    return fault


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("model", "served-model-name", "host", "logprobs-mode", "generation-config"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("port", "max-model-len", "tensor-parallel-size", "data-parallel-size"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--enable-prefix-caching", action="store_true")
    options = parser.parse_args()
    model = LocalModel(options.model, SamplingSettings(1.0, 1, options.max_model_len, 1))
    guard = threading.Lock()
    key, given = os.environ["VLLM_API_KEY"], shaping(options)

    class Handler(BaseHTTPRequestHandler):
        def _reply(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            known = {"/health": {}, "/v1/models": {"data": [{"id": options.served_model_name}]}}
            self._reply(200 if self.path in known else 404, known.get(self.path, {}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            unknown = sorted(set(body) - KNOWN[self.path])
            if self.headers["Authorization"] != f"Bearer {key}":
                self._reply(401, {"error": "Unauthorized"})
            elif body["model"] != options.served_model_name or unknown:
                self._reply(400, {"error": f"no such model or fields {unknown}"})
            elif self.path == "/v1/chat/completions":
                self._reply(200, chat(model, body, guard))
            elif len(body["prompt"]) + body["max_tokens"] > options.max_model_len:
                self._reply(400, {"error": "longer than the context"})
            elif any(body.get(name, given[name]) != NEUTRAL[name] for name in NEUTRAL):
                self._reply(400, {"error": "only the temperature can shape what is sampled here"})
            elif fault := next_fault(guard):
                self._fail(fault)
            else:
                raw = options.logprobs_mode == "raw_logprobs"
                self._reply(200, complete(model, body, guard, raw))

        def _fail(self, fault: str) -> None:
            if fault == "hangs":
                time.sleep(600)
            elif fault == "500":
                self._reply(500, {"error": "out of luck"})
            else:
                self.send_response(200)
                self.send_header("Content-Length", "100" if fault == "is cut short" else "8")
                self.end_headers()
                self.wfile.write(b'{"choice')

        def log_message(self, *arguments: Any) -> None:
            pass

    ThreadingHTTPServer((options.host, options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
