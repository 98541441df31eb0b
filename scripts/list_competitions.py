"""List MLE-Dojo's competitions, and say what is missing to download them."""

import csv
import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import tyro

from agent.competitions.catalogue import (
    CATALOGUE,
    COLUMNS,
    CatalogueEntry,
    Source,
    Split,
    read_catalogue,
    row_of,
)
from agent.competitions.kaggle_token import authorization
from agent.core.errors import one_line_errors

HEADER = ("competition", "split", "category", "metric", "better", "source", "MB", "board", "needs")


def main(
    category: Literal["MLE-Lite", "Tabular", "NLP", "CV"] | None = None,
    split: Split | None = None,
    source: Source | None = None,
    format: Literal["table", "csv"] = "table",
    catalogue: Path = CATALOGUE,
) -> None:
    """List competitions.

    Args:
        category: only this category of the evaluation split.
        split: only this split.
        source: only those with a prepare script (kaggle), or without one (dsbench).
        format: an aligned table for people, or the catalogue's own rows and columns.
        catalogue: the file to read.
    """
    wanted = {"category": category, "split": split, "source": source}
    chosen = [
        entry
        for entry in read_catalogue(catalogue).values()
        if all(value in (None, getattr(entry, key)) for key, value in wanted.items())
    ]
    if format == "csv":
        rows = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        rows.writeheader()
        rows.writerows(row_of(entry) for entry in chosen)
    else:
        print(table(chosen))
    if missing := missing_token(os.environ, Path.home()):
        print(missing, file=sys.stderr)


def table(entries: list[CatalogueEntry]) -> str:
    rows = [HEADER, *map(cells, entries)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADER))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, totals(entries)])


def cells(entry: CatalogueEntry) -> tuple[str, ...]:
    return (
        entry.slug,
        entry.split,
        entry.category or "-",
        entry.metric.removesuffix("Metrics"),
        "higher" if entry.higher_is_better else "lower",
        entry.source,
        "-" if entry.size_mb is None else f"{entry.size_mb:.1f}",
        str(entry.private_rows),
        " ".join(missing_packages(entry)) or "-",
    )


def missing_packages(entry: CatalogueEntry) -> list[str]:
    """What preparing and scoring import that this environment lacks; all that bears a limit."""
    needed = sorted({*entry.metric_packages, *entry.prepare_packages})
    return [name for name in needed if "<" in name or find_spec(name) is None]


def totals(entries: list[CatalogueEntry]) -> str:
    """One line: how many there are of what."""
    evaluation = sum(entry.split == "evaluation" for entry in entries)
    alone = sum(entry.preparable for entry in entries)
    gigabytes = sum(entry.size_mb or 0 for entry in entries) / 1000
    return (
        f"{len(entries)} competitions: {evaluation} evaluation, {len(entries) - evaluation} "
        f"training; {alone} with a prepare script of their own, {len(entries) - alone} only "
        f"through DSBench; {gigabytes:.1f} GB to download"
    )


def missing_token(environment: Mapping[str, str], home: Path) -> str | None:
    """What to do before Kaggle lets anything be downloaded; None when a token is there."""
    try:
        authorization(environment, home)
    except FileNotFoundError as none:
        return f"{none}; and accept each competition's rules on its page"
    return None


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
