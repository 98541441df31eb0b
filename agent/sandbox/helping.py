"""Running the programs of jobs on other machines, wherever one offers some (`helped`).

A helper keeps nothing: when it ends, whenever that is, the jobs run themselves what it had begun.
"""

import json
import socket
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from agent.core.environment import Execution, to_json
from agent.core.settings import section
from agent.sandbox.helped import Exchange, likeness
from agent.sandbox.opening import SandboxSettings, open_runner
from agent.sandbox.runner import WarmRunner

_LOOK = 2.0  # s between two looks at the offers while there is nothing to do
_CONNECT_SECONDS = 10.0


class Helper:
    """Runs programs for whichever jobs have some.

    Raises `RuntimeError` when this machine would not run them as the job's does.
    """

    def __init__(self, offers: Path) -> None:
        self._offers = offers
        self._runners: dict[str, WarmRunner] = {}  # by what they were opened with
        self._opening, self._counting = threading.Lock(), threading.Lock()
        self._over = threading.Event()
        self._busy = 0
        self._worked = time.monotonic()
        self.executed = 0

    def help(self, workers: int, idle_seconds: float, warned: threading.Event) -> None:
        """Run `workers` programs at a time, until warned or without work for `idle_seconds`."""
        with ExitStack() as opened:
            pool = ThreadPoolExecutor(workers)
            opened.callback(pool.shutdown, wait=False)
            slots = [pool.submit(self._work, slot, opened) for slot in range(workers)]
            try:
                while not warned.is_set() and not self._is_idle(idle_seconds):
                    done, _ = wait(slots, timeout=_LOOK / 2, return_when=FIRST_EXCEPTION)
                    for slot in done:
                        slot.result()
            finally:
                self._over.set()

    def _is_idle(self, seconds: float) -> bool:
        return self._busy == 0 and time.monotonic() - self._worked > seconds

    def _work(self, slot: int, opened: ExitStack) -> None:
        while not self._over.is_set():
            offers = sorted(self._offers.glob("*.json"))
            first = slot % len(offers) if offers else 0  # so that not all begin with the same job
            before = self.executed
            for offer in (*offers[first:], *offers[:first]):
                self._serve(offer, opened)
            if self.executed == before:
                self._over.wait(_LOOK)

    def _serve(self, offer: Path, opened: ExitStack) -> None:
        """Run what one job has to run now."""
        try:
            known = json.loads(offer.read_text())
            connection = socket.create_connection(tuple(known["address"]), _CONNECT_SECONDS)
        except ConnectionRefusedError:  # the job was killed, and left its offer
            offer.unlink(missing_ok=True)
            return
        except (OSError, ValueError):  # it has just ended, or its machine is gone
            return
        connection.settimeout(None)
        with closing(Exchange(connection)) as exchange:
            job = _ask(exchange, {"key": known["key"]})
            if job is None:
                return
            runner = self._runner_for(job, offer, opened)
            asked = _ask(exchange, {"ready": True})
            while asked and not self._over.is_set():
                asked = _ask(exchange, to_json(self._run(runner, asked)))

    def _run(self, runner: WarmRunner, asked: dict[str, Any]) -> Execution:
        with self._counting:
            self._busy += 1
        try:
            return runner.run(asked["program"], Path(asked["public"]))
        finally:
            with self._counting:
                self._busy -= 1
                self.executed += 1
                self._worked = time.monotonic()

    def _runner_for(self, job: dict[str, Any], offer: Path, opened: ExitStack) -> WarmRunner:
        if job["likeness"] != likeness():
            raise RuntimeError(
                f"{offer}: that job has {job['likeness']}, but this is {likeness()}: start helpers "
                "with the same environment, or container, and code"
            )
        described = json.dumps([job["sandbox"], job["shared"]], sort_keys=True)
        with self._opening:
            if described not in self._runners:
                settings = section(job, "sandbox", SandboxSettings)
                runner = open_runner(settings, [Path(path) for path in job["shared"]])
                self._runners[described] = opened.enter_context(runner)
            runner = self._runners[described]
            if runner.confinement != job["confinement"]:
                raise RuntimeError(
                    f"{offer}: that job confines programs by {job['confinement']}, this machine by "
                    f"{runner.confinement}: start helpers where the same is offered"
                )
        return runner


def _ask(exchange: Exchange, message: dict[str, Any]) -> dict[str, Any] | None:
    """The job's answer; None when it has ended."""
    try:
        exchange.tell(message)
        return exchange.hear()
    except (OSError, ValueError):
        return None
