"""Taking a program's submission out of its folder without trusting what lies there."""

import os
import stat
from pathlib import Path

SUBMISSION = "submission.csv"


class RefusedSubmissionError(Exception):
    """What lies under the submission's name is not a plain file of a sane size."""


def collect_submission(folder: Path, limit_mb: int) -> bytes | None:
    """The bytes of `submission.csv`, None when there is none.

    Opened without following links and read by descriptor (open(2), O_NOFOLLOW), so that neither a
    link to the answers nor a pipe is ever read.
    """
    try:
        descriptor = os.open(folder / SUBMISSION, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as unreadable:
        raise RefusedSubmissionError(
            f"submission.csv cannot be opened as a plain file ({unreadable.strerror})"
        ) from unreadable
    try:
        return _read(descriptor, limit_mb)
    finally:
        os.close(descriptor)


def _read(descriptor: int, limit_mb: int) -> bytes:
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
        raise RefusedSubmissionError("submission.csv must be a plain file with a single name")
    if facts.st_size > limit_mb << 20:
        raise RefusedSubmissionError(f"submission.csv is larger than {limit_mb} MB")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read()
