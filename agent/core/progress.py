"""How far long work has come: a bar on a terminal, a line now and then in a log."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

_SECONDS = 30.0  # between two lines of a log


@contextmanager
def shown_progress(turns: int) -> Iterator[Callable[[int], None]]:
    """What is to be called with the number of turns played since; from any thread.

    turns: how many there are at most.
    """
    guard, played, said = threading.Lock(), 0, time.monotonic()
    with tqdm(total=turns, unit="turn", disable=None) as bar:

        def add(count: int) -> None:
            nonlocal played, said
            with guard:
                played += count
                bar.update(count)
                if bar.disable and time.monotonic() - said > _SECONDS:
                    said = time.monotonic()
                    print(f"{played} of at most {turns} turns", flush=True)

        yield add
