"""Runs programs in fresh children of a warm fork server.

What a program gets: a new folder with a copy of the public files, an empty environment, limits on
wall time, CPU, memory and file size, and a process tree that dies with it. What it does not get:
the path of anything private. File-system and network confinement belong to the `confinement`
seam, which today says "limits".
"""

import contextlib
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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from agent.core.environment import Execution
from agent.core.records import Outcome
from agent.sandbox import zygote
from agent.sandbox.collector import RefusedSubmissionError, collect_submission

# One thread per program: parallelism is between programs, and a second thread makes runs depend
# on what else the machine does.
CLEAN_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "LOKY_MAX_CPU_COUNT": "1",
}


@dataclass(frozen=True, slots=True)
class ProgramLimits:
    seconds: float
    memory_mb: int  # of address space, the imported libraries included
    file_mb: int
    output_kb: int  # kept from each end of what a program prints


class WarmRunner:
    """A `ProgramRunner`; use as a context manager. `modules` are imported once, before forking."""

    confinement = "limits"

    def __init__(self, limits: ProgramLimits, modules: Sequence[str]) -> None:
        self.limits = limits
        self._modules = list(modules)
        self._starting = threading.Lock()
        self._idle: deque[socket.socket] = deque()  # connections, each to a supervisor of its own
        self._ready = False

    def __enter__(self) -> "WarmRunner":
        self._folder = Path(tempfile.mkdtemp(prefix="programs-"))
        self._address = str(self._folder / "zygote.socket")
        self._zygote = subprocess.Popen(
            [sys.executable, "-P", zygote.__file__, self._address, *self._modules],
            env=CLEAN_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    def wait_until_ready(self) -> None:
        """Block until the libraries are imported; the first program would otherwise pay for it."""
        with self._starting:
            if self._ready:
                return
            assert self._zygote.stdout is not None
            if self._zygote.stdout.readline() != b"ready\n":
                raise RuntimeError(
                    f"sandbox: the fork server could not start (exit {self._zygote.wait()}); "
                    f"check that sandbox.modules {self._modules} can all be imported"
                )
            self._ready = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ProcessLookupError):  # it may not have come to life
            os.killpg(self._zygote.pid, signal.SIGKILL)
        self._zygote.wait()
        for connection in self._idle:
            connection.close()
        shutil.rmtree(self._folder)

    def run(self, program: str, public: Path) -> Execution:
        self.wait_until_ready()
        place = Path(tempfile.mkdtemp(dir=self._folder))
        work, printed = place / "work", place / "output"
        try:
            shutil.copytree(public, work)
            # Held open, because the program may remove or replace the file.
            with printed.open("x+b") as output:
                reply = self._ask(program, work, printed)
                return self._execution(reply, work, output)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _ask(self, program: str, work: Path, printed: Path) -> dict[str, float | None]:
        request = {
            "program": program,
            "folder": str(work),
            "output": str(printed),
            "seconds": self.limits.seconds,
            "memory_mb": self.limits.memory_mb,
            "file_mb": self.limits.file_mb,
        }
        connection = self._connection()
        try:
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answer:
                line = answer.readline()
        except OSError:
            line = b""
        if not line:
            connection.close()
            raise RuntimeError("sandbox: the supervisor of a program died; is memory short?")
        self._idle.append(connection)
        reply: dict[str, float | None] = json.loads(line)
        return reply

    def _connection(self) -> socket.socket:
        """To an idle supervisor, or to a new one when all are busy."""
        try:
            return self._idle.pop()
        except IndexError:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(self._address)
            return connection

    def _execution(
        self, reply: dict[str, float | None], work: Path, printed: BinaryIO
    ) -> Execution:
        output = self._output(printed, work)
        outcome: Outcome = "ok"
        error = message = refused = ""
        submission = None
        if reply["status"] is None:
            outcome = "timed_out"
        elif reply["status"] != 0:
            outcome = "crashed"
            output, error, message = _split_error(output, int(reply["status"]))
        else:
            try:
                submission = collect_submission(work, self.limits.file_mb)
            except RefusedSubmissionError as reason:
                refused = str(reason)
        assert reply["seconds"] is not None
        return Execution(outcome, error, message, output, submission, refused, reply["seconds"])

    def _output(self, printed: BinaryIO, work: Path) -> str:
        """Both ends of what the program printed, without the path of its temporary folder."""
        keep = self.limits.output_kb << 10
        size = printed.seek(0, os.SEEK_END)
        printed.seek(0)
        text = printed.read(keep)
        if size > 2 * keep:
            printed.seek(size - keep)
            text += b"\n[...]\n"
        text += printed.read(keep)
        return text.decode(errors="replace").replace(str(work), ".")


def _split_error(output: str, status: int) -> tuple[str, str, str]:
    """Output, kind and message of the error that the child reported, or of its signal."""
    body, mark, rest = output.rpartition(f"\n{zygote.ERROR_MARK}")
    if mark:
        kind, _, message = rest.partition("\n")[0].partition(":")
        return body.rstrip(), kind, message.strip()
    if status < 0:
        names = {number.value: number.name for number in signal.Signals}
        return output, names.get(-status, f"signal {-status}"), "the program was killed"
    return output, "SystemExit", f"exit code {status}"
