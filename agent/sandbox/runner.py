"""Runs programs in fresh, confined children of a warm fork server.

What a program gets: a new folder with a copy of the public files (links to those too large to be
copied each time), an empty environment, limits for its whole process tree. What it does not get:
the path of anything private, a network, a look at other processes, or any way to leave something
behind. `tiers` says how, machine by machine.
"""

import base64
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

from agent.core.environment import Execution
from agent.sandbox.outcome import read_outcome
from agent.sandbox.supervisor import receive, send
from agent.sandbox.system_calls import keeper_filter, program_filter
from agent.sandbox.watch import TreeLimits

TierName = Literal["namespaces", "landlock", "limits"]

# One thread per program: parallelism is between programs, and a second thread makes runs depend
# on what else the machine does.
CLEAN_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "USER": "agent",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "LOKY_MAX_CPU_COUNT": "1",
}
_PROJECT = str(Path(__file__).parents[2])
_START = (
    "import sys, json; sys.path.insert(0, sys.argv[1]); import agent.sandbox.zygote as zygote; "
    "sys.path.pop(0); zygote.main(json.loads(sys.argv[2]))"
)
# What programs may read beside their own files.
_SYSTEM = (
    *("/bin", "/lib", "/lib64", "/sbin", "/usr", "/etc/alternatives", "/etc/ld.so.cache"),
    *("/etc/localtime", "/etc/ssl/openssl.cnf", "/etc/mime.types", "/etc/fonts"),
)
_LEAST_FREE = 1 << 20  # bytes of the disk that programs print to
_GRACE = 30.0  # s for a supervisor to collect and answer after a program's time is up


@dataclass(frozen=True, slots=True)
class ProgramLimits:
    """For one program and all processes it starts together, unless said otherwise."""

    seconds: float
    cpu_seconds: float
    memory_mb: int  # also of each process's address space, the imported libraries included
    processes: int  # and their threads
    file_mb: int  # of a single file
    scratch_mb: int  # of all files
    scratch_files: int
    output_kb: int  # kept from each end of what a program prints


class SupervisorLostError(Exception):
    """The process that kept a program is gone: killed by someone, or out of memory."""


class WarmRunner:
    """A `ProgramRunner`, safe from threads; use as a context manager.

    modules: imported once, before forking.
    shared: entries of public folders that programs see in place and cannot change, for those too
        large to be copied for each.
    start: "cold" starts a new interpreter for each program instead, as confined but slower.
    weakest, strongest: the tiers that may be used; raises `RuntimeError` when there is none.
    """

    def __init__(
        self,
        limits: ProgramLimits,
        modules: Sequence[str],
        shared: Sequence[Path] = (),
        weakest: TierName = "landlock",
        strongest: TierName = "namespaces",
        start: Literal["warm", "cold"] = "warm",
    ) -> None:
        self.limits = limits
        self._modules = list(modules) if start == "warm" else []
        self._shared = [path.absolute() for path in shared]
        self._settings = {"weakest": weakest, "strongest": strongest, "start": start}
        self._starting = threading.RLock()
        # The kernel ends the fork server with the thread that started it, so that one must stay.
        self._starter = ThreadPoolExecutor(1, "fork server")
        self._idle: deque[socket.socket] = deque()  # connections, each to a supervisor of its own
        self._confinement = ""
        self._closed = False

    @property
    def confinement(self) -> str:
        """The tier in force with its layers; waits until the fork server has found out."""
        self.wait_until_ready()
        return self._confinement

    def __enter__(self) -> "WarmRunner":
        self._folder = Path(tempfile.mkdtemp(prefix="programs-"))
        # Programs that run as a user of their own pass through here to their folder.
        self._folder.chmod(0o711)
        self._start()
        return self

    def _start(self) -> None:
        self._ready = False
        number = len(list(self._folder.iterdir()))
        place = self._folder / str(number)
        (place / "scratch").mkdir(parents=True)
        (place / "scratch").chmod(0o711)
        place.chmod(0o711)
        self._address = str(place / "zygote.socket")
        settings = self._settings | {
            "address": self._address,
            "modules": self._modules,
            "scratch": str(place / "scratch"),
            "readable": [*_SYSTEM, *_interpreter_folders(), *map(str, self._shared)],
            "shared": [str(path) for path in self._shared],
            "filters": [base64.b64encode(program).decode() for program in _filters()],
        }
        self._zygote = self._starter.submit(
            subprocess.Popen,
            [sys.executable, "-P", "-c", _START, _PROJECT, json.dumps(settings)],
            env=CLEAN_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        ).result()

    def wait_until_ready(self) -> None:
        """Block until the libraries are imported; the first program would otherwise pay for it."""
        with self._starting:
            if self._ready:
                return
            assert self._zygote.stdout is not None
            answer = json.loads(self._zygote.stdout.readline() or "{}")
            if "refused" in answer:
                raise RuntimeError(answer["refused"])
            if self._zygote.stdout.readline() != b"ready\n":
                raise RuntimeError(
                    f"sandbox: the fork server could not start (exit {self._zygote.wait()}); "
                    f"check that sandbox.modules {self._modules} can all be imported"
                )
            self._confinement = answer["confinement"]
            print(f"sandbox: {self._confinement}", flush=True)
            self._ready = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._starting:
            self._closed = True
            self._stop()
        self._starter.shutdown()
        shutil.rmtree(self._folder)

    def _stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it may not have come to life
            os.killpg(self._zygote.pid, signal.SIGKILL)
        self._zygote.wait()
        if self._zygote.stdout is not None:
            self._zygote.stdout.close()
        self._dismiss_idle()

    def _dismiss_idle(self) -> None:
        with contextlib.suppress(IndexError):  # other threads take them, too
            while True:
                self._idle.pop().close()

    def run(self, program: str, public: Path) -> Execution:
        """Run it to its end. A lost supervisor is replaced, and the program run once more."""
        try:
            return self._run_once(program, public)
        except SupervisorLostError:
            self._check_disk()
            self._restart_if_dead()
            self._dismiss_idle()  # what ended one may have ended them all
        try:
            return self._run_once(program, public)
        except SupervisorLostError as again:
            raise RuntimeError(
                "sandbox: the supervisor of a program died twice; is memory short?"
            ) from again

    def _run_once(self, program: str, public: Path) -> Execution:
        self.wait_until_ready()
        with tempfile.TemporaryFile(dir=self._folder) as output:
            reply, submission = self._ask(program, public, output)
            execution = read_outcome(
                reply, submission, output, self.limits.file_mb, self.limits.output_kb
            )
            self._check_disk()
            return execution

    def _check_disk(self) -> None:
        """Raise when the disk is full: what a program then failed in is no mistake of its own."""
        free = shutil.disk_usage(self._folder).free
        if free < _LEAST_FREE:
            raise OSError(
                f"sandbox: {self._folder}: the disk is full ({free >> 10} KB left), where programs "
                "print and may write: make room, or set TMPDIR"
            )

    def _restart_if_dead(self) -> None:
        with self._starting:
            if self._closed:
                raise RuntimeError("sandbox: closed while a program was running")
            if self._zygote.poll() is not None:
                self._stop()
                self._start()
            self.wait_until_ready()

    def _ask(
        self, program: str, public: Path, output: BinaryIO
    ) -> tuple[dict[str, Any], int | None]:
        limits = asdict(self.limits)
        watched = {name: limits[name] for name in TreeLimits.__dataclass_fields__}
        request = {
            "program": program,
            "limits": watched,
            "file_mb": self.limits.file_mb,
            "shared": [str(path) for path in self._shared if path.parent == public.absolute()],
        }
        connection = self._connection()
        folder = os.open(public, os.O_PATH | os.O_DIRECTORY)
        try:
            connection.settimeout(self.limits.seconds + _GRACE)
            send(connection, request, [folder, output.fileno()])
            reply, descriptors = receive(connection)
        except OSError:
            reply, descriptors = None, []
        finally:
            os.close(folder)
        if reply is None:
            connection.close()
            raise SupervisorLostError
        self._idle.append(connection)
        return reply, descriptors[0] if descriptors else None

    def _connection(self) -> socket.socket:
        """To an idle supervisor, or to a new one when all are busy."""
        try:
            return self._idle.pop()
        except IndexError:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self._address)
            except OSError as gone:
                connection.close()
                raise SupervisorLostError from gone
            return connection


@functools.cache
def _filters() -> tuple[bytes, bytes, bytes]:
    return keeper_filter(), program_filter(inside=True), program_filter(inside=False)


def _interpreter_folders() -> list[str]:
    """Where this interpreter and its installed packages are, and nothing of this project."""
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    links = [sys.executable, str(Path(sys.executable).resolve())]
    return [*packages, sys.prefix, sys.base_prefix, *links]
