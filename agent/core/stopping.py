"""Ending well when told to: schedulers warn a job before they kill it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# What asks a job to end, and what SLURM sends some time before (`sbatch --signal=URG@...`). SLURM
# signals every process of a job; SIGURG is nothing to the others, nor to jobs that do not heed it.
WARNINGS = (signal.SIGTERM, signal.SIGURG)


class StoppedEarlyError(RuntimeError):
    """The job was told to end; what it had finished is kept."""


@contextmanager
def stop_on_warning() -> Iterator[threading.Event]:
    """An event that a warning sets. Only in the main thread, as signals are."""
    warned = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        warned.set()

    before = {number: signal.signal(number, note) for number in WARNINGS}
    try:
        yield warned
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
