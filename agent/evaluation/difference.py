"""What moved between two versions of a study's results: the same rows, other numbers.

A row is known by its words (measure, group, policy, ... or competition), the rest are its numbers;
notes, missing runs and the family of a test are neither. Nothing here depends on which columns a
table has.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype

from agent.evaluation.files import read_csv

TABLES = (
    "statistics.csv",
    "competitions.csv",
    "competition_statistics.csv",
    "tables/variants.csv",
    "tables/benchmark.csv",
)
MOVED_COLUMNS = ["table", "row", "column", "before", "after", "change"]
NOTES = ("note", "family", "missing_runs", "missing_runs_base", "missing_runs_trained")
HOW_SURE = re.compile(r"(.*_)?(low|high|p_value|p_adjusted)")
BOOKKEEPING = re.compile(r"n_.*|standard_error|degrees_of_freedom")


@dataclass(frozen=True, slots=True)
class Difference:
    """`moved` has one line per number, measures first; rows are named by their words."""

    moved: pd.DataFrame
    new: tuple[str, ...]  # rows, columns and tables
    missing: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return self.moved.empty and not self.new and not self.missing


def compare_studies(before: Path, after: Path) -> Difference:
    """Compare the tables of two results folders; a table that neither has is not compared."""
    for folder in (before, after):
        if not any((folder / name).is_file() for name in TABLES):
            raise FileNotFoundError(f"{folder}: holds none of {', '.join(TABLES)}")
    old, new = (
        [name for name in TABLES if (folder / name).is_file()] for folder in (before, after)
    )
    moved, came, went = [], _only(new, old), _only(old, new)
    for name in TABLES:
        if name in old and name in new:
            numbers, new_names, old_names = _compare(name, before / name, after / name)
            moved += numbers
            came += new_names
            went += old_names
    table = pd.DataFrame(moved, columns=MOVED_COLUMNS[:-1])
    return Difference(_measures_first(table), tuple(came), tuple(went))


def _compare(
    name: str, before: Path, after: Path
) -> tuple[list[dict[str, object]], list[str], list[str]]:
    """Numbers that moved; rows and columns that came; those that went."""
    tables = [read_csv(before, ()), read_csv(after, ())]
    both = tables[0].columns.intersection(tables[1].columns, sort=False)
    shared = [str(column) for column in both if column not in NOTES]
    numbers = [
        column for column in shared if all(is_numeric_dtype(table[column]) for table in tables)
    ]
    words = [column for column in shared if column not in numbers]
    old, new = (
        _rows(path, table, words, numbers)
        for path, table in zip((before, after), tables, strict=True)
    )
    moved = [
        {"table": name, "row": row, "column": column, "before": was, "after": new[row][column]}
        for row, values in old.items()
        if row in new
        for column, was in values.items()
        if was != new[row][column] and not (pd.isna(was) and pd.isna(new[row][column]))
    ]
    had, has = (
        [f"{name}: {one}" for one in (*(f"column {column}" for column in table), *rows)]
        for table, rows in zip(tables, (old, new), strict=True)
    )
    return moved, _only(has, had), _only(had, has)


def _only(some: Sequence[str], others: Sequence[str]) -> list[str]:
    known = set(others)
    return [name for name in some if name not in known]


def _rows(
    path: Path, table: pd.DataFrame, words: list[str], numbers: list[str]
) -> dict[str, dict[str, float]]:
    """Numbers of every row by the row's words."""
    named = table[words].astype(object).fillna("").astype(str).itertuples(index=False)
    names = pd.Series([" ".join(filter(None, row)) for row in named], dtype=object)
    if names.duplicated().any():
        raise ValueError(f"{path}: two rows are named {names[names.duplicated()].iloc[0]}")
    values = table[numbers].astype(float).itertuples(index=False)
    return {
        name: dict(zip(numbers, row, strict=True)) for name, row in zip(names, values, strict=True)
    }


def _measures_first(moved: pd.DataFrame) -> pd.DataFrame:
    """By what the columns are, by table, by size; what came or went has no size and leads."""
    change = (moved["after"] - moved["before"]).astype(float)
    keys = {
        "kind": moved["column"].map(_kind),
        "place": moved["table"].map(TABLES.index),
        "size": -change.abs().fillna(float("inf")),
    }
    order = moved.assign(change=change, **keys).sort_values(
        [*keys, "row", "column"], ignore_index=True
    )
    return order[MOVED_COLUMNS]


def _kind(column: str) -> int:
    """0 for measures, 1 for how sure they are, 2 for what intervals are made from."""
    if BOOKKEEPING.fullmatch(column):
        return 2
    return int(HOW_SURE.fullmatch(column) is not None)


def difference_text(difference: Difference) -> str:
    """The difference in lines for a person."""
    if difference.empty:
        return "nothing moved"
    moved = difference.moved
    order = "measures, then how sure they are, then counts; the largest change of a table first"
    lines = [f"{len(moved)} numbers moved: {order}"] if len(moved) else []
    for row in moved.to_dict("records"):
        change = "" if pd.isna(row["change"]) else f" ({row['change']:+.4g})"
        place = f"{row['table']}: {row['row']}: {row['column']}"
        lines.append(f"  {place} {_number(row['before'])} -> {_number(row['after'])}{change}")
    for title, names in (("new", difference.new), ("missing", difference.missing)):
        if names:
            lines += [f"{len(names)} {title}", *(f"  {name}" for name in names)]
    return "\n".join(lines)


def _number(value: float) -> str:
    return "none" if pd.isna(value) else f"{value:.6g}"
