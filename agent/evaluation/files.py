"""Files that are either complete or absent: written beside their place, then renamed."""

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd


def write_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as refused:
        raise OSError(f"{path}: cannot be written: {refused}") from refused
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_csv(path: Path, table: pd.DataFrame) -> None:
    write_text(path, table.to_csv(index=False, float_format="%.10g", lineterminator="\n"))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` with its keys in order; a value that is not finite is a bug and raises."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_csv(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    """Read a table in which only an empty cell means "no value", and check its columns."""
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    missing = [column for column in required if column not in table.columns]
    if missing:
        raise ValueError(f"{path}: columns missing: {', '.join(missing)}; write the table again")
    return table
