"""A vLLM server that the user runs, which must hold the very policy that a job plays.

It serves the policy under the name of its digest (`model_digest`), so that no job can take another
model's tokens for its own. Many jobs, also those without a GPU and on other machines, may share it.
"""

import os
import shlex
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from agent.core.model_folder import model_digest
from agent.wrappers.vllm_requests import UNSHAPED, Attempts, ask
from agent.wrappers.vllm_server import serving
from agent.wrappers.vllm_settings import RunningSettings

_LOOK = 2.0  # s between two looks at what it serves
_MODELS_SECONDS = 60.0  # for it to say so


class RunningServer:
    """Answers completion requests, from many threads at once; use as a context manager.

    Raises `RuntimeError` when the policy is not served in time, with the command that would, or
    when one request fails again and again. At the end of the context nobody waits any more.
    """

    def __init__(self, folder: Path, context_tokens: int, settings: RunningSettings) -> None:
        self._settings = settings
        self._url = settings.url.rstrip("/")
        self._model = model_digest(folder)
        self._key = "" if settings.api_key is None else _from_environment(settings.api_key)
        arguments = serving(folder, self._model, context_tokens)
        self._command = shlex.join(["python", "-m", *arguments])
        self._over = threading.Event()

    def __enter__(self) -> "RunningServer":
        self._await()
        self._check_logprobs()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """The server's reply to a request of its `/v1/completions`; asked again if it goes away."""
        attempts = Attempts(f"see the log of {self._url}", self._over)
        while True:
            try:
                return ask(
                    self._url, "/v1/completions", self._key, {"model": self._model, **request}
                )
            except OSError as failed:
                attempts.note(failed)
                self._await()

    def _await(self) -> None:
        deadline, found = time.monotonic() + self._settings.wait_seconds, "nothing, or is not there"
        while not self._over.is_set():
            with suppress(OSError):
                models = ask(self._url, "/v1/models", self._key, seconds=_MODELS_SECONDS)
                names = [model["id"] for model in models.get("data", [])]
                if self._model in names:
                    return
                found = ", ".join(names)
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"vllm.url: {self._url} does not serve policy {self._model} but {found}, after "
                    f"{self._settings.wait_seconds:.0f} s of vllm.wait_seconds; start it with: "
                    f"{self._command}"
                )
            self._over.wait(_LOOK)
        raise RuntimeError("vllm: the job is over")

    def _check_logprobs(self) -> None:
        """The likeliest token is the same one at any temperature, and the likelier the colder."""
        cold, warm = (self._likeliest(temperature) for temperature in (0.5, 2.0))
        if cold - warm < 1e-3:
            raise RuntimeError(
                f"vllm.url: log-probs of {self._url} are not those at the sampling temperature: "
                f"start it with: {self._command}"
            )

    def _likeliest(self, temperature: float) -> float:
        request = {"prompt": [1, 2], "max_tokens": 1, "temperature": temperature, "logprobs": 1}
        (top,) = self.complete(request | UNSHAPED)["choices"][0]["logprobs"]["top_logprobs"]
        return float(max(top.values()))


def _from_environment(variable: str) -> str:
    if variable not in os.environ:
        raise RuntimeError(f"vllm.api_key: the environment has no variable {variable}: set it")
    return os.environ[variable]
