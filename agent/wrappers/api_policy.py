"""Playing with a model behind any OpenAI-compatible `chat/completions`, as text.

What is said has no token ids or log-probs, so nobody can be trained on it: for yardsticks alone.
"""

import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

from agent.core.base_agent import Response
from agent.core.records import Conversation

ATTEMPTS = 6
AT_ONCE = 8  # requests; most providers refuse many more
_FIRST_WAIT = 2.0  # s before a request is sent again, doubled each time
_LONGEST_WAIT = 120.0
_REQUEST_SECONDS = 600.0
_TOO_LONG = ("context_length_exceeded", "maximum context length")  # OpenAI's words, and vLLM's


@dataclass(frozen=True, slots=True)
class ApiModel:
    """One model, and how it is asked."""

    name: str  # how tables call it
    url: str  # up to and without /chat/completions
    model: str  # as the server knows it
    key_variable: str | None  # environment variable that holds the key
    token_budget: int  # of prompts and answers together; the job stops there
    options: dict[str, Any]  # more fields of a request, null to leave one of ours out
    agent: Literal["ours", "mle_agent", "aide"]  # what plays with it; all but ours are MLE-Dojo's


class ApiPolicy:
    """A `Policy` that sends each conversation as messages; asked from many threads at once.

    usage: file of one line per answer with its tokens. It outlives a killed job, so that what was
    spent counts when the job goes on.
    Raises `RuntimeError` when the server refuses or stays silent, or the budget is used up.
    """

    in_rounds = False

    def __init__(
        self, model: ApiModel, temperature: float, max_new_tokens: int, usage: Path
    ) -> None:
        self.name, self.temperature = model.name, temperature
        self._model, self._usage = model, usage
        self._fields = {
            "model": model.model,
            "temperature": temperature,
            "max_tokens": max_new_tokens,
            **model.options,
        }
        self._key = _read_key(model)
        self._writing, self._asking = threading.Lock(), threading.Semaphore(AT_ONCE)
        self._spent = sum(total_usage(usage).values()) if usage.exists() else 0

    def respond(
        self, conversations: Sequence[Conversation], seeds: Sequence[int]
    ) -> list[Response]:
        return [self._respond(*pair) for pair in zip(conversations, seeds, strict=True)]

    def _respond(self, conversation: Conversation, seed: int) -> Response:
        chat = [{"role": m.role, "content": m.content} for m in conversation.messages]
        body = {"messages": chat, "seed": seed % 2**31, **self._fields}
        with self._asking:
            if self._spent >= self._model.token_budget:
                raise RuntimeError(
                    f"{self._place}: the token_budget {self._model.token_budget} is used up; what "
                    "was played is kept: raise it to go on"
                )
            reply = self._ask({key: value for key, value in body.items() if value is not None})
        if reply is None:
            return Response("", "context")
        self._note(reply)
        try:
            choice = reply["choices"][0]
            text = choice["message"]["content"] or ""  # null where a model only thought
            return Response(text, "length" if choice.get("finish_reason") == "length" else "stop")
        except (KeyError, IndexError, TypeError) as missing:
            raise RuntimeError(f"{self._place}: no answer in the reply {reply!r:.300}") from missing

    @property
    def _place(self) -> str:
        return f"evaluation.api_models: {self.name}: {self._model.url}"

    def _ask(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """The reply; None where the conversation is longer than the model can read."""
        for attempt in range(ATTEMPTS):
            try:
                return self._post(body)
            except urllib.error.HTTPError as refused:
                told = refused.read().decode(errors="replace")
                if any(words in told for words in _TOO_LONG):
                    return None
                what = f"HTTP {refused.code}: {told[:300]}"
                if refused.code != 429 and refused.code < 500:
                    raise RuntimeError(f"{self._place}: {what}") from refused
                wait = _asked_wait(refused.headers.get("Retry-After"))
            except (OSError, HTTPException, json.JSONDecodeError) as failed:
                what, wait = str(failed) or type(failed).__name__, None
            if attempt + 1 < ATTEMPTS:
                time.sleep(min(wait or _FIRST_WAIT * 2**attempt, _LONGEST_WAIT))
        raise RuntimeError(f"{self._place}: {ATTEMPTS} requests failed, the last one with {what}")

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        url = f"{self._model.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS) as answer:
            reply: dict[str, Any] = json.load(answer)
        return reply

    def _note(self, reply: dict[str, Any]) -> None:
        used = reply.get("usage") or {}
        try:
            line = {key: int(used[key]) for key in ("prompt_tokens", "completion_tokens")}
        except (KeyError, TypeError) as missing:
            raise RuntimeError(
                f"{self._place}: the reply lacks usage.prompt_tokens or completion_tokens, by "
                "which the token_budget is kept"
            ) from missing
        with self._writing:
            self._spent += sum(line.values())
            self._usage.parent.mkdir(parents=True, exist_ok=True)
            with self._usage.open("a") as file:
                file.write(json.dumps(line) + "\n")


def total_usage(usage: Path) -> dict[str, int]:
    """Tokens of all prompts and of all answers."""
    whole = usage.read_text().rpartition("\n")[0]  # a line cut short by a kill is dropped
    lines = [json.loads(line) for line in whole.splitlines()]
    return {key: sum(line[key] for line in lines) for key in ("prompt_tokens", "completion_tokens")}


def _read_key(model: ApiModel) -> str:
    if model.key_variable is None:
        return ""
    if not os.environ.get(model.key_variable):
        raise RuntimeError(
            f"evaluation.api_models: {model.name}: the environment variable {model.key_variable} "
            "is not set: export the key in it, where the job runs"
        )
    return os.environ[model.key_variable]


def _asked_wait(seconds: str | None) -> float | None:
    """How long a server asks to wait; it may also name a date, which is not waited for."""
    return float(seconds) if seconds and seconds.isdigit() else None
