"""A job's programs run by helpers on other machines, beside those that it runs itself.

The job leaves an offer, a file in a folder that all machines see: its address and a key. Helpers
(`helping`) connect once for each program that they run at a time, ask for one, and send back what
it left behind. Nobody waits for helpers: the job takes programs from the same queue, and runs those
that a helper was lost with. Messages are lines of JSON.
"""

import functools
import hashlib
import json
import os
import secrets
import socket
import sys
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from agent.core.environment import Execution, from_json
from agent.core.files import unfinished
from agent.sandbox.opening import SandboxSettings
from agent.sandbox.runner import WarmRunner

_GREETING_SECONDS = 30.0
_STARTING_SECONDS = 600.0  # for a helper to import the programs' libraries
_PATIENCE = 2.0  # s until a helper is told that there is nothing to do
_TURN = 0.5  # s between two looks at whether the job is over
_GREETING_BYTES = 4096
# A machine that is gone says nothing: TCP asks it after a minute, and gives it another one.
_ALIVE = {
    socket.TCP_KEEPIDLE: 60,
    socket.TCP_KEEPINTVL: 20,
    socket.TCP_KEEPCNT: 3,
}


@dataclass(frozen=True, slots=True)
class _Task:
    program: str
    public: Path
    result: "Future[Execution]" = field(default_factory=Future)


class HelpedRunner:
    """A `ProgramRunner`, safe from threads; use as a context manager.

    own: runs programs on this machine, `places` at a time.
    settings, shared: what `own` was opened with, which helpers need too.
    offers: the folder where helpers look.
    """

    def __init__(
        self,
        own: WarmRunner,
        places: int,
        settings: SandboxSettings,
        shared: Sequence[Path],
        offers: Path,
    ) -> None:
        self._own, self._places = own, places
        self._facts = {
            "likeness": likeness(),
            "sandbox": asdict(settings),
            "shared": [str(path.absolute()) for path in shared],
        }
        self._seconds = 2 * settings.seconds + 120.0  # for one program; it may be run twice
        self._key = secrets.token_hex(16)
        self._offer = offers / f"{socket.gethostname()}-{os.getpid()}-{self._key[:8]}.json"
        self._changed = threading.Condition()
        self._waiting: deque[_Task] = deque()  # for whoever is free
        self._returned: deque[_Task] = deque()  # for this machine
        self._connections: set[socket.socket] = set()
        self._closed = False
        self._helped = 0

    @property
    def confinement(self) -> str:
        return self._own.confinement

    def __enter__(self) -> "HelpedRunner":
        self._server = socket.create_server(("", 0))
        self._server.settimeout(_TURN)
        for work in (self._listen, *[self._work_here] * self._places):
            threading.Thread(target=work, daemon=True).start()
        address = (socket.gethostname(), self._server.getsockname()[1])
        with unfinished(self._offer) as partial:
            partial.touch(mode=0o600)
            partial.write_text(json.dumps({"address": address, "key": self._key}))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._offer.unlink(missing_ok=True)
        with self._changed:
            self._closed = True
            left = [*self._waiting, *self._returned]
            for connection in list(self._connections):
                with suppress(OSError):  # it has ended
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.notify_all()
        for task in left:
            self._put(task, self._returned)
        self._server.close()
        print(f"sandbox: helpers ran {self._helped} programs", flush=True)

    def run(self, program: str, public: Path) -> Execution:
        """Run it to its end, here or elsewhere."""
        task = _Task(program, public)
        self._put(task, self._waiting)
        return task.result.result()

    def _take(self, *queues: deque[_Task], seconds: float | None = None) -> _Task | None:
        """The next task; None when none came in time, or the job is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(queues), seconds)
            filled = [] if self._closed else [queue for queue in queues if queue]
            return filled[0].popleft() if filled else None

    def _put(self, task: _Task, queue: deque[_Task]) -> None:
        """After the job's end nobody takes it, and who waits for it is told."""
        with self._changed:
            if self._closed:
                ended = RuntimeError("sandbox: closed while a program was running")
                task.result.set_exception(ended)
            else:
                queue.append(task)
                self._changed.notify_all()

    def _work_here(self) -> None:
        while task := self._take(self._returned, self._waiting):
            try:
                task.result.set_result(self._own.run(task.program, task.public))
            except BaseException as failed:
                task.result.set_exception(failed)

    def _listen(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._server.accept()
            except TimeoutError:
                continue
            except OSError:  # closed
                return
            threading.Thread(target=self._attend, args=(connection,), daemon=True).start()

    def _attend(self, connection: socket.socket) -> None:
        """Hand programs to one helper until it is gone, or there are none."""
        self._connections.add(connection)
        try:
            with closing(Exchange(connection)) as helper:
                if self._greet(helper):
                    connection.settimeout(self._seconds)
                    while task := self._take(self._waiting, seconds=_PATIENCE):
                        self._hand_over(task, helper)
                    helper.tell({})
        except (OSError, ValueError, KeyError, TypeError) as lost:
            print(f"sandbox: a connection of a helper ended: {lost}", flush=True)
        finally:
            self._connections.discard(connection)

    def _greet(self, helper: "Exchange") -> bool:
        """Whether the other end knows the key and is ready."""
        helper.connection.settimeout(_GREETING_SECONDS)
        key = str(helper.hear(_GREETING_BYTES).get("key"))
        if not secrets.compare_digest(key.encode(), self._key.encode()):
            return False
        helper.tell(self._facts | {"confinement": self._own.confinement})
        helper.connection.settimeout(_STARTING_SECONDS)
        return bool(helper.hear().get("ready"))

    def _hand_over(self, task: _Task, helper: "Exchange") -> None:
        try:
            helper.tell({"program": task.program, "public": str(task.public.absolute())})
            execution = from_json(Execution, helper.hear())
        except BaseException:
            self._put(task, self._returned)
            raise
        self._helped += 1
        task.result.set_result(execution)


class Exchange:
    """Messages over a connection, which is closed with it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _ALIVE.items():
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        self._lines = connection.makefile("rb")

    def tell(self, message: dict[str, Any]) -> None:
        self.connection.sendall(json.dumps(message).encode() + b"\n")

    def hear(self, most: int = -1) -> dict[str, Any]:
        """The next message, of `most` bytes; `ConnectionError` when the other end is gone."""
        line = self._lines.readline(most)
        if not line.endswith(b"\n"):
            raise ConnectionError("no whole message came")
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError(f"no message: {message!r:.100}")
        return message

    def close(self) -> None:
        self._lines.close()
        self.connection.close()


@functools.cache
def likeness() -> str:
    """What two machines must share for a program to do the same on both: code and libraries."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    return f"Python {sys.version.split()[0]} in {sys.prefix}, sandbox {code}"
