"""The catalogue of MLE-Dojo's competitions: facts of the pinned commit, readable without it."""

import csv
import difflib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, cast, get_args

CATALOGUE = Path("config/mle_dojo/competitions.csv")
Split = Literal["evaluation", "training"]
Category = Literal["MLE-Lite", "Tabular", "NLP", "CV", ""]
Source = Literal["kaggle", "dsbench"]
REMEDY = "write it again with scripts/catalogue_mle_dojo.py"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One competition. Lists are separated by semicolons in the file; packages are import names."""

    slug: str
    split: Split
    category: Category  # given for the evaluation split only
    metric: str  # name of its class
    higher_is_better: bool
    metric_packages: tuple[str, ...]
    source: Source  # dsbench: the competition has no prepare script of its own
    preparable: bool
    obstacle: str  # why it is not preparable by itself
    prepare_packages: tuple[str, ...]
    size_mb: float | None  # of the download, as the competition's page stated it
    private_rows: int
    public_rows: int
    same_boards: bool  # the two leaderboards are equal
    licence: str  # in the words of the page, empty if it gave none
    licence_link: str
    page: str
    tags: tuple[str, ...]


COLUMNS = tuple(field.name for field in fields(CatalogueEntry))


def read_catalogue(path: Path = CATALOGUE) -> dict[str, CatalogueEntry]:
    """Every competition by its slug, in the order of the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such catalogue; {REMEDY}")
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{path}: the columns are not {', '.join(COLUMNS)}; {REMEDY}")
        entries = [_entry(row, f"{path}, line {rows.line_num}") for row in rows]
    found = {entry.slug: entry for entry in entries}
    if len(found) < len(entries):
        raise ValueError(f"{path}: {len(entries) - len(found)} slugs are repeated; {REMEDY}")
    return found


def find(catalogue: dict[str, CatalogueEntry], slug: str) -> CatalogueEntry:
    """Look a competition up; an unknown name is answered with those that are like it."""
    if slug in catalogue:
        return catalogue[slug]
    by_small = {name.lower(): name for name in catalogue}
    close = difflib.get_close_matches(slug.lower(), by_small, n=3)
    meant = f"did you mean {', '.join(by_small[name] for name in close)}? " if close else ""
    raise ValueError(
        f"competition {slug!r} is not one of MLE-Dojo's: {meant}`make competitions` lists them"
    )


def row_of(entry: CatalogueEntry) -> dict[str, str]:
    """An entry as a row of the file."""
    return {name: _written(getattr(entry, name)) for name in COLUMNS}


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ";".join(value)
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _entry(row: dict[str, str], place: str) -> CatalogueEntry:
    if None in row or None in row.values():
        raise ValueError(f"{place}: not {len(COLUMNS)} values; {REMEDY}")
    return CatalogueEntry(
        slug=row["slug"],
        split=cast(Split, _choice(row, "split", get_args(Split), place)),
        category=cast(Category, _choice(row, "category", get_args(Category), place)),
        metric=row["metric"],
        higher_is_better=_choice(row, "higher_is_better", ("yes", "no"), place) == "yes",
        metric_packages=_several(row["metric_packages"]),
        source=cast(Source, _choice(row, "source", get_args(Source), place)),
        preparable=_choice(row, "preparable", ("yes", "no"), place) == "yes",
        obstacle=row["obstacle"],
        prepare_packages=_several(row["prepare_packages"]),
        size_mb=_number(row, "size_mb", place) if row["size_mb"] else None,
        private_rows=int(_number(row, "private_rows", place)),
        public_rows=int(_number(row, "public_rows", place)),
        same_boards=_choice(row, "same_boards", ("yes", "no"), place) == "yes",
        licence=row["licence"],
        licence_link=row["licence_link"],
        page=row["page"],
        tags=_several(row["tags"]),
    )


def _choice(row: dict[str, str], key: str, allowed: tuple[str, ...], place: str) -> str:
    if row[key] not in allowed:
        raise ValueError(f"{place}: {key} {row[key]!r} is none of {allowed}; {REMEDY}")
    return row[key]


def _number(row: dict[str, str], key: str, place: str) -> float:
    if not row[key].replace(".", "", 1).isdigit():
        raise ValueError(f"{place}: {key} {row[key]!r} is no number; {REMEDY}")
    return float(row[key])


def _several(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(";")))
