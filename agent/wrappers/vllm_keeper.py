"""Keeps a vLLM server no longer than the job that it answers.

    python vllm_keeper.py COMMAND...

Its standard input is the job's hold on it. However the job ends, by kill -9 as well, that is
closed, and the server is ended with all its workers.
"""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress

GRACE = 10.0  # s from SIGTERM to SIGKILL
_LOOK = 0.2  # s between two looks


def keep(command: list[str]) -> int:
    """Run a command until it ends or standard input does; its return code."""
    for number in (signal.SIGTERM, signal.SIGINT):  # where a scheduler tells every process
        signal.signal(number, lambda *_: None)  # no SIG_IGN: the server would inherit that
    # Open files go on to it: by one of them `make resume` finds whoever works for a study.
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, close_fds=False
    )
    while server.poll() is None and not select.select([sys.stdin], [], [], _LOOK)[0]:
        pass
    _signal(server.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        server.wait(GRACE)
    _signal(server.pid, signal.SIGKILL)  # its workers, too, where it left any
    return server.wait()


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1:]))
