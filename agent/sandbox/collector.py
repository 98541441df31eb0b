"""Taking a program's submission out of its folder without trusting what lies there.

The supervisor opens it, where the program's files are and after all its processes have ended; the
caller of the runner reads it, by descriptor and in a process that no program can reach.
"""

import os
import stat

SUBMISSION = "submission.csv"


class RefusedSubmissionError(Exception):
    """What lies under the submission's name is not a plain file of a sane size."""


def open_submission(folder: int) -> int | None:
    """A descriptor of `submission.csv` in a folder given by descriptor, None when there is none.

    The path of that folder may lead elsewhere by now. No link is followed and no pipe waited for
    (open(2), O_NOFOLLOW, O_NONBLOCK); a file with a second name, which may be a hard link to the
    answers, is refused.
    """
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(SUBMISSION, flags, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as unreadable:
        raise RefusedSubmissionError(
            f"submission.csv cannot be opened as a plain file ({unreadable.strerror})"
        ) from unreadable
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
        os.close(descriptor)
        raise RefusedSubmissionError("submission.csv must be a plain file with a single name")
    return descriptor


def read_submission(descriptor: int, limit_mb: int) -> bytes:
    """The bytes of an opened submission; closes the descriptor."""
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(descriptor).st_size > limit_mb << 20:
            raise RefusedSubmissionError(f"submission.csv is larger than {limit_mb} MB")
        return file.read()
