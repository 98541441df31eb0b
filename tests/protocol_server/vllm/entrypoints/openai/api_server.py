"""Speaks the part of vLLM's protocol that the client uses, with transformers behind it.

It is no vLLM: it stands in for it where client and process control are tested on any machine.
`test_vllm.py` runs the same tests against a real one where `VLLM_PYTHON` names it.
"""

import argparse
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agent.core.local_model import LocalModel, SamplingSettings

REQUIRED = ("prompt", "max_tokens")
KNOWN = {
    *("model", "prompt", "max_tokens", "temperature", "seed", "logprobs", "return_token_ids"),
    *("stop_token_ids", "skip_special_tokens"),
}


def complete(model: LocalModel, body: dict[str, Any], guard: threading.Lock) -> dict[str, Any]:
    with guard:
        model.temperature = body.get("temperature", 1.0)
        model._max_new_tokens = body["max_tokens"]
        ids, logprobs = model.sample([body["prompt"]], [body.get("seed", 0)])[0]
    choice: dict[str, Any] = {"index": 0, "text": model.tokenizer.decode(ids)}
    if "logprobs" in body:
        choice["logprobs"] = {"token_logprobs": logprobs}
    if body.get("return_token_ids"):
        choice["token_ids"] = ids
    return {"choices": [choice]}


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
    key = os.environ["VLLM_API_KEY"]

    class Handler(BaseHTTPRequestHandler):
        def _reply(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._reply(200 if self.path == "/health" else 404, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            unknown = sorted(set(body) - KNOWN)
            if self.headers["Authorization"] != f"Bearer {key}":
                self._reply(401, {"error": "Unauthorized"})
            elif body["model"] != options.served_model_name or unknown:
                self._reply(400, {"error": f"no such model or fields {unknown}"})
            elif len(body["prompt"]) + body["max_tokens"] > options.max_model_len:
                self._reply(400, {"error": "longer than the context"})
            else:
                self._reply(200, complete(model, body, guard))

        def log_message(self, *arguments: Any) -> None:
            pass

    ThreadingHTTPServer((options.host, options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
