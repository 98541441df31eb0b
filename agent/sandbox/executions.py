"""Files of executions: what later jobs of a run need not execute again.

One row per program and competition. Time-outs are never written: another try may end in time.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pyarrow as pa

from agent.core.environment import Execution
from agent.core.parquet import read_table, write_table

Key = tuple[str, Path]  # the program, and the public folder it found beside it

SCHEMA = pa.schema(
    [
        ("program", pa.string()),
        ("public", pa.string()),
        ("outcome", pa.string()),
        ("error", pa.string()),
        ("message", pa.string()),
        ("output", pa.string()),
        ("submission", pa.binary()),
        ("refused", pa.string()),
        ("seconds", pa.float64()),
        ("attempts", pa.list_(pa.string())),
    ]
)
NAMES = [field.name for field in fields(Execution)]


def write_executions(path: Path, executions: Mapping[Key, Execution], conditions: str) -> None:
    """Write executions made under `conditions`, a text that names all that they depend on."""
    rows = [
        {"program": program, "public": str(public)} | asdict(execution)
        for (program, public), execution in sorted(executions.items(), key=lambda item: item[0])
    ]
    schema = SCHEMA.with_metadata({"conditions": conditions})
    write_table(path, pa.Table.from_pylist(rows, schema))


def read_executions(path: Path, conditions: str) -> dict[Key, Execution]:
    """Read them back; raises `ValueError` for other conditions or a file that is none of ours."""
    table = read_table(path, "executions file", "remove it and run again")
    if not table.schema.equals(SCHEMA):
        raise ValueError(f"{path}: holds no executions; give files that --executions-to wrote")
    if (table.schema.metadata or {}).get(b"conditions") != conditions.encode():
        raise ValueError(f"{path}: executed under other settings of the sandbox; leave it out")
    return {(row["program"], Path(row["public"])): _execution(row) for row in table.to_pylist()}


def _execution(row: dict[str, Any]) -> Execution:
    facts = {name: row[name] for name in NAMES}
    return Execution(**facts | {"attempts": tuple(row["attempts"])})
