"""What moved between two versions of a study's results: the same rows, other numbers.

A row is known by its words (measure, group, policy, ... or competition), the rest are its numbers;
a note is neither. Nothing here depends on which columns a table has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from agent.evaluation.files import read_csv

TABLES = ("statistics.csv", "competitions.csv", "tables/variants.csv")
MOVED_COLUMNS = ["table", "row", "column", "before", "after", "change"]
NOTES = ("note",)


@dataclass(frozen=True, slots=True)
class Difference:
    """`moved` has one line per number, largest change first; rows are named by their words."""

    moved: pd.DataFrame
    new: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return self.moved.empty and not self.new and not self.missing


def compare_studies(before: Path, after: Path) -> Difference:
    """Compare the tables of two results folders; a table that neither has is not compared."""
    for folder in (before, after):
        if not any((folder / name).is_file() for name in TABLES):
            raise FileNotFoundError(f"{folder}: holds none of {', '.join(TABLES)}")
    names = [name for name in TABLES if (before / name).is_file() or (after / name).is_file()]
    pairs = {name: (_rows(before / name), _rows(after / name)) for name in names}
    moved = [
        {"table": name, "row": row, "column": column, "before": old[column], "after": new[column]}
        for name, (olds, news) in pairs.items()
        for row, old in olds.items()
        if (new := news.get(row)) is not None
        for column in old.keys() & new.keys()
        if old[column] != new[column] and not (pd.isna(old[column]) and pd.isna(new[column]))
    ]
    table = pd.DataFrame(moved, columns=MOVED_COLUMNS[:-1])
    table["change"] = table["after"] - table["before"]
    return Difference(
        _largest_first(table),
        _only(pairs, first=1, second=0),
        _only(pairs, first=0, second=1),
    )


def _rows(path: Path) -> dict[str, Mapping[str, float]]:
    """Numbers of every row by the row's words; none for a table that is not there."""
    if not path.is_file():
        return {}
    table = read_csv(path, ())
    numbers = table.select_dtypes("number").columns
    empty = table.columns[table.isna().all()]
    words = [name for name in table if name not in {*numbers, *empty, *NOTES}]
    named = table[words].fillna("").itertuples(index=False)
    names = pd.Series([" ".join(filter(None, row)) for row in named], dtype=object)
    if names.duplicated().any():
        raise ValueError(f"{path}: two rows are named {names[names.duplicated()].iloc[0]}")
    values = table[[name for name in table if name in {*numbers, *empty} - {*NOTES}]]
    numbers_of_rows = values.astype(float).to_dict("records")
    return {
        str(name): {str(column): float(value) for column, value in row.items()}
        for name, row in zip(names, numbers_of_rows, strict=True)
    }


def _largest_first(moved: pd.DataFrame) -> pd.DataFrame:
    """Sorted by size; a number that came or went has no size and stands first."""
    size = moved["change"].astype(float).abs().fillna(float("inf"))
    order = moved.assign(size=size).sort_values(
        ["size", "table", "row", "column"], ascending=[False, True, True, True], ignore_index=True
    )
    return order.drop(columns="size")


def _only(
    pairs: Mapping[str, tuple[dict[str, Mapping[str, float]], dict[str, Mapping[str, float]]]],
    first: int,
    second: int,
) -> tuple[str, ...]:
    return tuple(
        f"{name}: {row}"
        for name, tables in pairs.items()
        for row in tables[first]
        if row not in tables[second]
    )


def difference_text(difference: Difference) -> str:
    """The difference in lines for a person."""
    if difference.empty:
        return "nothing moved"
    moved = difference.moved
    lines = [f"{len(moved)} numbers moved, largest change first"] if len(moved) else []
    for row in moved.to_dict("records"):
        change = "" if pd.isna(row["change"]) else f" ({row['change']:+.4g})"
        place = f"{row['table']}: {row['row']}: {row['column']}"
        lines.append(f"  {place} {_number(row['before'])} -> {_number(row['after'])}{change}")
    for title, rows in (("new", difference.new), ("missing", difference.missing)):
        if rows:
            lines += [f"{len(rows)} {title} rows", *(f"  {row}" for row in rows)]
    return "\n".join(lines)


def _number(value: float) -> str:
    return "none" if pd.isna(value) else f"{value:.6g}"
