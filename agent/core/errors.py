"""How a command ends when something is wrong that its user can mend: with one line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

PROJECT = Path(__file__).parents[2]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End with `error: ...` and exit code 1 where the message says all there is to say.

    That is what the operating system refuses (a missing file, a full disk), and what this project
    itself raises about its input. Every other exception is a defect and keeps its traceback.
    """
    try:
        yield
    except OSError as refused:
        sys.exit(f"error: {_one_line(refused)}")
    except (ValueError, RuntimeError, FloatingPointError) as wrong:
        if not _raised_here(wrong.__traceback__):
            raise
        sys.exit(f"error: {_one_line(wrong)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _raised_here(trace: TracebackType | None) -> bool:
    """Whether the exception was raised by code of this project, not in a library it called."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    file = Path(trace.tb_frame.f_code.co_filename)
    return file.parent == PROJECT / "scripts" or PROJECT / "agent" in file.parents
