"""Waits for SIGTERM, then takes two seconds to write a file: `saves_slowly.py FILE`."""

import signal
import sys
import time
from pathlib import Path
from types import FrameType


def save(number: int, frame: FrameType | None) -> None:
    time.sleep(2)
    Path(sys.argv[1]).write_text("saved\n")
    sys.exit(1)


signal.signal(signal.SIGTERM, save)
Path("waits").touch()
time.sleep(500)
