"""A vLLM server for the length of one job: started, watched, started again when it dies, stopped.

It listens on this machine alone, on a free port and with a key of its own. It runs in a process of
another environment if need be: nothing of vLLM is imported here.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

MODEL = "policy"  # the name under which a server of ours serves
_LOOK = 0.5  # s between two looks at whether it is up
_REQUEST_SECONDS = 3600.0  # for one answer, waiting for others included


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """How a job generates with vLLM."""

    python: str  # interpreter that has vLLM
    tensor_parallel: int  # GPUs that share one copy of the model
    data_parallel: int  # copies of the model
    start_seconds: float  # until it answers; loading and compiling take minutes
    restarts: int  # how often a server that died is started again
    options: tuple[str, ...]  # further ones of vLLM's command line


class VllmServer:
    """Answers completion requests, from many threads at once; use as a context manager.

    Raises `RuntimeError` when it does not come up, or died more than `restarts` times.
    """

    def __init__(
        self, folder: Path, context_tokens: int, settings: VllmSettings, log: Path
    ) -> None:
        self._folder, self._context_tokens = folder, context_tokens
        self._settings, self._log = settings, log
        self._key = secrets.token_hex(16)
        self._starting = threading.Lock()
        self._started = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "VllmServer":
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """The server's reply to a request of its `/v1/completions`; asked again if it dies."""
        while True:
            generation = self._started
            try:
                return ask(self._url, "/v1/completions", self._key, {"model": MODEL, **request})
            except (OSError, ConnectionError):
                self._restart(generation)

    def _restart(self, generation: int) -> None:
        """Start it again, once for all threads that saw it die."""
        with self._starting:
            if generation != self._started:
                return
            self._stop()
            if self._started > self._settings.restarts:
                raise RuntimeError(f"vllm: the server died {self._started} times; see {self._log}")
            print("vllm: the server died and is started again", flush=True)
            self._start()

    def _start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._url = f"http://127.0.0.1:{port}"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command(), "--port", str(port)],
                env=os.environ | {"VLLM_API_KEY": self._key, "VLLM_NO_USAGE_STATS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._await()
        except BaseException:
            self._stop()
            raise
        self._started += 1

    def _command(self) -> Sequence[str]:
        settings = self._settings
        return [
            settings.python,
            *("-m", "vllm.entrypoints.openai.api_server"),
            *("--model", str(self._folder), "--served-model-name", MODEL),
            *("--host", "127.0.0.1", "--max-model-len", str(self._context_tokens)),
            # Log-probs of what was sampled from; the model's own defaults would change that.
            *("--logprobs-mode", "processed_logprobs", "--generation-config", "vllm"),
            *("--tensor-parallel-size", str(settings.tensor_parallel)),
            *("--data-parallel-size", str(settings.data_parallel)),
            "--enable-prefix-caching",
            *settings.options,
        ]

    def _await(self) -> None:
        """Until it answers a request of one token, so that the first real one finds it warm."""
        assert self._process is not None
        deadline = time.monotonic() + self._settings.start_seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"vllm: the server could not start; see {self._log}")
            with suppress(OSError):
                ask(self._url, "/health", self._key)
                warm = {"model": MODEL, "prompt": [0], "max_tokens": 1}
                ask(self._url, "/v1/completions", self._key, warm)
                return
            time.sleep(_LOOK)
        raise RuntimeError(
            f"vllm: no answer within vllm.start_seconds {self._settings.start_seconds:.0f}; "
            f"see {self._log}, or allow more"
        )

    def _stop(self) -> None:
        if self._process is None:
            return
        for number, patience in ((signal.SIGTERM, 20.0), (signal.SIGKILL, 20.0)):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)  # with its workers
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                if number == signal.SIGKILL:
                    break
        self._process = None


def ask(url: str, path: str, key: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """GET, or POST of a body as JSON. Raises `RuntimeError` for a request that is refused."""
    request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {key}"})
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    # No proxy stands between a job and its own server.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_REQUEST_SECONDS) as answer:
            content = answer.read()
    except urllib.error.HTTPError as refused:
        if refused.code >= 500:
            raise ConnectionError(f"HTTP {refused.code}") from refused
        told = refused.read().decode(errors="replace")[:500]
        raise RuntimeError(f"vllm: {path}: HTTP {refused.code}: {told}") from refused
    reply: dict[str, Any] = json.loads(content) if content else {}
    return reply
