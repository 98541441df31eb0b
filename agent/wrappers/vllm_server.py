"""A vLLM server for the length of one job: started, watched, started again if need be, stopped.

It listens on this machine alone, on a free port and with a key of its own. It runs in a process of
another environment if need be: nothing of vLLM is imported here.
"""

import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from agent.wrappers import vllm_keeper
from agent.wrappers.vllm_requests import Attempts, ask
from agent.wrappers.vllm_settings import VllmSettings, check_python

MODEL = "policy"  # the name under which a server of ours serves
_LOOK = 0.5  # s between two looks at whether it is up
_HEALTH_SECONDS = 60.0  # for a sign of life; it may be busy
_STOP_SECONDS = 2 * vllm_keeper.GRACE


class VllmServer:
    """Answers completion requests, from many threads at once; use as a context manager.

    Raises `RuntimeError` when it does not come up, died more than `restarts` times, or fails one
    request again and again. Once that or the end of the context is reached nothing is started or
    asked any more: whoever still waits for an answer is told so. A server that left a request
    without an answer for an hour counts as dead, whatever it says of its health: its engine hangs.
    """

    def __init__(
        self, folder: Path, context_tokens: int, settings: VllmSettings, log: Path
    ) -> None:
        self._folder, self._context_tokens = folder, context_tokens
        self._settings, self._log = settings, log
        self._key = secrets.token_hex(16)
        self._starting = threading.Lock()
        self._started = 0
        self._over, self._why = threading.Event(), ""
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "VllmServer":
        check_python(self._settings.python)
        with self._starting:
            self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end("the job is over")
        self._let_go()  # so that who starts one, with the lock, need not be waited for
        with self._starting:
            self._stop()

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """The server's reply to a request of its `/v1/completions`; asked again if it dies."""
        attempts = Attempts(f"see {self._log}", self._over)
        while True:
            generation = self._started
            try:
                return ask(self._url, "/v1/completions", self._key, {"model": MODEL, **request})
            except OSError as failed:
                if not self._restart_if_dead(generation, isinstance(failed, TimeoutError)):
                    attempts.note(failed)

    def _restart_if_dead(self, generation: int, hung: bool) -> bool:
        """Start it again, once for all threads that saw it die; False when it lives after all."""
        with self._starting:
            if self._over.is_set():
                raise RuntimeError(f"vllm: {self._why}")
            if generation != self._started:
                return True
            if not hung and self._is_alive():
                return False
            self._stop()
            if self._started > self._settings.restarts:
                self._end(f"the server died or hung {self._started} times; see {self._log}")
                raise RuntimeError(f"vllm: {self._why}")
            what = "left a request without an answer" if hung else "died"
            print(f"vllm: the server {what} and is started again", flush=True)
            self._start()
            return True

    def _is_alive(self) -> bool:
        with suppress(OSError):
            ask(self._url, "/health", self._key, seconds=_HEALTH_SECONDS)
            return self._keeper is not None and self._keeper.poll() is None
        return False

    def _end(self, why: str) -> None:
        self._why = why
        self._over.set()

    def _start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._url = f"http://127.0.0.1:{port}"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, vllm_keeper.__file__, *self._command(), "--port", str(port)],
                env=os.environ | {"VLLM_API_KEY": self._key, "VLLM_NO_USAGE_STATS": "1"},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                close_fds=False,  # the lock of this study's jobs goes on to it
            )
        try:
            self._await(self._keeper)
        except BaseException as failed:
            self._end(str(failed).removeprefix("vllm: "))
            self._stop()
            raise
        self._started += 1

    def _command(self) -> Sequence[str]:
        settings = self._settings
        return [
            *(settings.python, "-m", *serving(self._folder, MODEL, self._context_tokens)),
            *("--host", "127.0.0.1"),
            *("--tensor-parallel-size", str(settings.tensor_parallel)),
            *("--data-parallel-size", str(settings.data_parallel)),
            *settings.options,
        ]

    def _await(self, keeper: "subprocess.Popen[bytes]") -> None:
        """Until it answers a request of one token, so that the first real one finds it warm."""
        deadline = time.monotonic() + self._settings.start_seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._over.is_set():
                raise RuntimeError(f"vllm: {self._why}")
            if keeper.poll() is not None:
                raise RuntimeError(f"vllm: the server could not start; see {self._log}")
            with suppress(OSError):
                ask(self._url, "/health", self._key, seconds=min(left, _HEALTH_SECONDS))
                warm = {"model": MODEL, "prompt": [0], "max_tokens": 1}
                ask(self._url, "/v1/completions", self._key, warm, left)
                return
            self._over.wait(_LOOK)
        raise RuntimeError(
            f"vllm: no answer within vllm.start_seconds {self._settings.start_seconds:.0f}; "
            f"see {self._log}, or allow more"
        )

    def _stop(self) -> None:
        if self._keeper is not None:
            self._let_go()
            with suppress(subprocess.TimeoutExpired):
                self._keeper.wait(_STOP_SECONDS)
            self._keeper = None

    def _let_go(self) -> None:
        """The keeper ends the server when nobody holds its standard input any more."""
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()


def serving(folder: Path, name: str, context_tokens: int) -> list[str]:
    """vLLM's module and what any server of a policy is started with."""
    return [
        "vllm.entrypoints.openai.api_server",
        *("--model", str(folder), "--served-model-name", name),
        *("--max-model-len", str(context_tokens), "--enable-prefix-caching"),
        # Log-probs of what was sampled from; the model's own defaults would change that.
        *("--logprobs-mode", "processed_logprobs", "--generation-config", "vllm"),
    ]
