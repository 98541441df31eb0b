"""Files and folders that are either complete or absent."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A temporary place beside `path`, which becomes `path` when the block ends well.

    When it does not, nothing half-written stays, and what stood at `path` before is untouched.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        yield partial
        partial.replace(path)
    except OSError as refused:
        raise OSError(f"{path}: cannot be written: {refused}") from refused
    finally:
        _remove(partial)


def write_text(path: Path, text: str) -> None:
    with unfinished(path) as partial:
        partial.write_text(text)


def check_free(folder: Path) -> None:
    """Raise when a folder that is to be written whole already holds something."""
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: remove it, or write elsewhere")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
