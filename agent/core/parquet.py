"""Parquet files whose every page carries a checksum: written whole, and damage is named."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from agent.core.files import unfinished


def write_table(path: Path, table: pa.Table) -> None:
    with unfinished(path) as partial:
        pq.write_table(table, partial, compression="zstd", write_page_checksum=True)


def read_table(path: Path, kind: str, remedy: str) -> pa.Table:
    """Read a table; a missing or damaged file raises one line with its `kind` and the `remedy`."""
    try:
        return pq.read_table(path, page_checksum_verification=True)
    except FileNotFoundError as missing:
        raise FileNotFoundError(f"{path}: no such {kind}") from missing
    except (pa.ArrowException, OSError, UnicodeDecodeError) as damage:
        reason = str(damage).splitlines()[0]
        raise ValueError(f"{path}: damaged {kind} ({reason}); {remedy}") from damage
