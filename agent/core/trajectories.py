"""Trajectory files: Parquet, one row per episode, with a documented and versioned schema.

Readable by pandas, DuckDB and Hugging Face datasets. The field meanings are those of
`records.Trajectory` and `records.Turn`; the schema version and the versions of the software that
played are in the file's metadata.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from agent.core.parquet import read_table, write_table
from agent.core.records import SCHEMA_VERSION, Message, Trajectory, Turn

_TURN = pa.struct(
    [
        ("action", pa.string()),
        ("text", pa.string()),
        ("outcome", pa.string()),
        ("error", pa.string()),
        ("observation", pa.string()),
        ("raw_score", pa.float64()),
        ("position_score", pa.float64()),
        ("submission", pa.binary()),
        ("generate_seconds", pa.float64()),
        ("execute_seconds", pa.float64()),
        ("grade_seconds", pa.float64()),
        ("hack_attempts", pa.list_(pa.string())),
        ("first_token", pa.int32()),
        ("last_token", pa.int32()),
    ]
)
SCHEMA = pa.schema(
    [
        ("competition", pa.string()),
        ("group", pa.string()),
        ("policy", pa.string()),
        ("seed", pa.int64()),
        ("iteration", pa.int32()),
        ("shard", pa.int32()),
        ("episode", pa.int32()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("turns", pa.list_(_TURN)),
        ("token_ids", pa.list_(pa.int32())),
        ("action_mask", pa.list_(pa.int8())),
        ("logprobs", pa.list_(pa.float32())),
        ("temperature", pa.float64()),
        ("stop_reason", pa.string()),
        ("sandbox", pa.string()),
        ("segments", pa.list_(pa.int32())),
    ]
)
_VERSION_KEY = b"trajectory_schema_version"


def write_trajectories(
    path: Path, trajectories: Sequence[Trajectory], facts: Mapping[str, str]
) -> None:
    """Write a shard; `facts` (commit, versions, ...) go into the file's metadata.

    Raises `ValueError` for an empty shard or an episode without turns: neither is a result.
    """
    if not trajectories:
        raise ValueError(f"{path}: refusing to write a shard without episodes")
    empty = [t.episode for t in trajectories if not t.turns]
    if empty:
        raise ValueError(f"{path}: episodes {empty} have no turns")
    metadata = {_VERSION_KEY: str(SCHEMA_VERSION).encode()}
    metadata |= {key.encode(): value.encode() for key, value in facts.items()}
    rows = [_row(trajectory) for trajectory in trajectories]
    write_table(path, pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata(metadata)))


def read_trajectories(path: Path) -> list[Trajectory]:
    """Read a shard; a damaged, foreign or empty file raises one line that names it."""
    remedy = "delete it and run the workflow again to play it anew"
    table = read_table(path, "trajectory file", remedy)
    version = (table.schema.metadata or {}).get(_VERSION_KEY, b"none").decode(errors="replace")
    if version != str(SCHEMA_VERSION) or not table.schema.equals(SCHEMA):
        raise ValueError(
            f"{path}: trajectory schema {version[:9]!a}, expected {SCHEMA_VERSION}; {remedy}"
        )
    if table.num_rows == 0:
        raise ValueError(f"{path}: trajectory file holds no episode; {remedy}")
    return [_trajectory(row) for row in table.to_pylist()]


def read_facts(path: Path) -> dict[str, str]:
    """The facts that `write_trajectories` was given."""
    remedy = "delete it and run the workflow again to play it anew"
    metadata = read_table(path, "trajectory file", remedy).schema.metadata or {}
    return {key.decode(): value.decode() for key, value in metadata.items() if key != _VERSION_KEY}


def _row(trajectory: Trajectory) -> dict[str, Any]:
    row = {field.name: getattr(trajectory, field.name) for field in fields(trajectory)}
    row["messages"] = [asdict(message) for message in trajectory.messages]
    row["turns"] = [asdict(turn) for turn in trajectory.turns]
    return row


def _turn(row: dict[str, Any]) -> Turn:
    return Turn(**row | {"hack_attempts": tuple(row["hack_attempts"])})


def _trajectory(row: dict[str, Any]) -> Trajectory:
    row["messages"] = tuple(Message(**message) for message in row["messages"])
    row["turns"] = tuple(_turn(turn) for turn in row["turns"])
    row["token_ids"] = np.asarray(row["token_ids"], dtype=np.int32)
    row["action_mask"] = np.asarray(row["action_mask"], dtype=np.int8)
    row["logprobs"] = np.asarray(row["logprobs"], dtype=np.float32)
    row["segments"] = tuple(row["segments"])
    return Trajectory(**row)
