"""The tables of a prepared competition as a leak audit reads them, and rewriting public ones."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from agent.competitions.loading import CANARY

ANSWERS = "data/private/test_answer.csv"
SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
MAX_BYTES = 1 << 30  # a larger file, unpacked, is named as unread
MAX_TABLES = 30  # by depth and name; the others are named as unread
TEST_ROWS = 20_000  # a larger test is sampled
TRAIN_ROWS = 100_000  # a larger train is sampled
WHOLE = re.compile(r"-?\d+\.0+")
TRUTH = {"True": "1", "False": "0"}
FEWEST_ROWS = 12  # fewer aligned rows can show nothing
NOT_TARGETS = {CANARY, "usage"}  # Kaggle's solution files say in "Usage" which board a row is for


class UnidentifiedAnswersError(Exception):
    """The answers have no column that names each of them once: only a person can audit them."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """Rows of a public table that belong to answers; `rows` is indexed as the answers are."""

    name: str
    rows: pd.DataFrame
    positions: np.ndarray  # (rows,) places in the file
    id_column: str | None  # None: matched by place alone


@dataclass(frozen=True, slots=True)
class Opened:
    """What an audit reads of a competition; large tables are a seeded sample, in file order."""

    public: Path
    private: Path
    answers: pd.DataFrame
    id_column: str
    targets: tuple[str, ...]
    train_name: str | None
    train: pd.DataFrame | None
    aligned: tuple[Aligned, ...]  # the test first, when there is one
    sampled: str  # a sentence for explanations; empty when every row was read
    unread: tuple[tuple[str, str], ...]  # (public file, why)

    @property
    def test(self) -> Aligned | None:
        plain = [one for one in self.aligned if one.name != self.train_name]
        return plain[0] if plain and "submission" not in plain[0].name.lower() else None


def open_tables(folder: Path) -> Opened:
    """Read answers, train and every public table whose ids are ids of answers."""
    private = folder / "data/private"
    everything = _read_answers(folder / ANSWERS)
    id_column = str(everything.columns[0])
    targets = [str(name) for name in everything.columns[1:] if name.lower() not in NOT_TARGETS]
    answers = _sample(everything, TEST_ROWS)
    tables, unread = _read_public(folder / "data/public")
    order = sorted(tables, key=_by_role)
    train = next((n for n in order if "train" in n and set(targets) & set(tables[n])), None)
    matched = [_align(name, tables[name], answers, id_column, len(everything)) for name in order]
    known = None if train is None else _sample(tables[train], TRAIN_ROWS)
    sizes = [("test", answers, everything)]
    sizes += [] if train is None or known is None else [("train", known, tables[train])]
    parts = [
        f"{len(part)} of {len(whole)} {side} rows"
        for side, part, whole in sizes
        if len(part) < len(whole)
    ]
    return Opened(
        public=folder / "data/public",
        private=private,
        answers=answers,
        id_column=id_column,
        targets=tuple(targets),
        train_name=train,
        train=known,
        aligned=tuple(one for one in matched if one is not None),
        sampled=f" (on a seeded sample: {', '.join(parts)})" if parts else "",
        unread=tuple(unread),
    )


def drop_columns(public: Path, columns: Collection[str]) -> dict[str, bytes]:
    """The public files that change, by path inside `public`, without `columns`; writes nothing.

    Packed tables lose the columns as well: MLE-Dojo ships some tables plain and zipped.
    """
    changed: dict[str, bytes] = {}
    dropped: set[str] = set()
    for path in _files(public):
        if path.suffix.lower() in (*SUFFIXES, ".zip"):
            content = path.read_bytes()
            held = _columns_inside(path.name, content) & set(columns)
            if held:
                changed[path.relative_to(public).as_posix()] = _without(path.name, content, held)
                dropped |= held
    absent = sorted(set(columns) - dropped)
    if absent:
        raise ValueError(
            f"data/public: column {absent[0]!r} is in no table; name columns of audit.json"
        )
    return changed


def labels(column: pd.Series) -> pd.Series:
    """Values as text, so that True, 1, 1.0 and "1" agree; a missing value is empty."""
    present = column.notna().tolist()
    values = zip(column.tolist(), present, strict=True)
    texts = [_label(str(value)) if there else "" for value, there in values]
    return pd.Series(texts, index=column.index, dtype=str)


def _label(text: str) -> str:
    text = text.strip()
    if text.endswith("0") and WHOLE.fullmatch(text):
        return text.partition(".")[0]
    return TRUTH.get(text, text)


def contents(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """A file, and the members of it if it is an archive, as (name, bytes)."""
    yield name, content
    if name.lower().endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    yield f"{name}/{member.filename}", archive.read(member)


def parse(name: str, content: bytes, text: bool = False) -> pd.DataFrame:
    """The table in `content`; with `text`, CSV values stay the text they are."""
    suffix = Path(name).suffix.lower()
    raw = io.BytesIO(content)
    if suffix in (".csv", ".tsv"):
        separator = "\t" if suffix == ".tsv" else ","
        if text:
            return pd.read_csv(raw, sep=separator, dtype=str, keep_default_na=False)
        return pd.read_csv(raw, sep=separator, low_memory=False)
    if suffix == ".parquet":
        return pd.read_parquet(raw)
    if suffix == ".jsonl":
        return pd.DataFrame([json.loads(line) for line in content.splitlines() if line.strip()])
    return pd.DataFrame(_checked_json(name, json.loads(content)))


def _checked_json(name: str, value: object) -> list | dict:
    """Records, or columns by name."""
    if isinstance(value, list) and all(isinstance(record, dict) for record in value):
        return value
    if isinstance(value, dict) and all(isinstance(v, list | dict) for v in value.values()):
        return value
    raise ValueError(f"{name}: neither records nor columns; not read as a table")


def _read_answers(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no answers to audit; prepare the competition first")
    answers = pd.read_csv(path).drop(columns=CANARY, errors="ignore")
    if answers.shape[1] < 2 or labels(answers.iloc[:, 0]).duplicated().any():
        raise UnidentifiedAnswersError(
            f"{path.name}: first column {answers.columns[0]!r} is no unique id of answers; "
            "this competition needs an audit by hand"
        )
    return answers


def _files(public: Path) -> list[Path]:
    return sorted(path for path in public.rglob("*") if path.is_file())


def _read_public(public: Path) -> tuple[dict[str, pd.DataFrame], list[tuple[str, str]]]:
    """Every public table by its name, and the files left out with the reason."""
    tables: dict[str, pd.DataFrame] = {}
    unread, seen = [], set()
    paths = [p for p in _files(public) if p.suffix.lower() in (*SUFFIXES, ".zip")]
    paths.sort(key=lambda path: (len(path.parts), path.suffix == ".zip", path.name))
    for path in paths[:MAX_TABLES]:
        name = path.relative_to(public).as_posix()
        try:
            if _unpacked_bytes(path) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES} bytes")
            for part, content in contents(name, path.read_bytes()):
                digest = hashlib.sha256(content).hexdigest()
                if part.lower().endswith(SUFFIXES) and digest not in seen:
                    seen.add(digest)  # a table that is also there zipped counts once
                    tables[part] = parse(part, content).rename(columns=str)
        except (ValueError, zipfile.BadZipFile) as refused:
            unread.append((name, " ".join(f"not read: {refused}".split())[:200]))
    if len(paths) > MAX_TABLES:
        unread.append(("data/public", f"{len(paths) - MAX_TABLES} more tables were not read"))
    return tables, unread


def _unpacked_bytes(path: Path) -> int:
    if path.suffix.lower() != ".zip":
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def _by_role(name: str) -> tuple[bool, bool, int, str]:
    """The test table first, sample submissions last."""
    low = name.lower()
    return "submission" in low, "test" not in Path(low).name, len(low), low


def _sample(table: pd.DataFrame, rows: int) -> pd.DataFrame:
    """`table` with row numbers as its index; a seeded sample in file order when it is longer."""
    table = table.reset_index(drop=True)
    if len(table) <= rows:
        return table
    return table.iloc[np.sort(np.random.default_rng(0).permutation(len(table))[:rows])]


def _align(
    name: str, table: pd.DataFrame, answers: pd.DataFrame, id_column: str, every: int
) -> Aligned | None:
    """The rows of `table` by answer; the first of several rows with one id."""
    held = next((str(c) for c in table.columns if str(c).lower() == id_column.lower()), None)
    if held is None:
        if "test" not in Path(name).name.lower() or len(table) != every:
            return None
        places = answers.index.to_numpy()
        return Aligned(name, table.iloc[places].set_axis(answers.index), places, None)
    ids = pd.Series(np.arange(len(table)), index=labels(table[held]))
    ids = ids[~ids.index.duplicated()]
    wanted = labels(answers[id_column])
    present = wanted.isin(ids.index)
    if present.sum() < FEWEST_ROWS:
        return None
    places = ids.loc[wanted[present]].to_numpy()
    return Aligned(name, table.iloc[places].set_axis(answers.index[present]), places, held)


def _columns_inside(name: str, content: bytes) -> set[str]:
    columns: set[str] = set()
    try:
        for part, inside in contents(name, content):
            if part.lower().endswith(SUFFIXES):
                columns |= set(map(str, parse(part, inside, text=True).columns))
    except (ValueError, zipfile.BadZipFile):
        return columns  # no table; an audit names it as unread
    return columns


def _without(name: str, content: bytes, columns: set[str]) -> bytes:
    """`content` without `columns`; everything else keeps its value."""
    suffix = Path(name).suffix.lower()
    if suffix == ".zip":
        return _without_in_archive(content, columns)
    if suffix == ".json":
        value = _checked_json(name, json.loads(content))
        if isinstance(value, dict):
            return json.dumps(_pruned(value, columns), indent=4).encode()
        return json.dumps([_pruned(record, columns) for record in value], indent=4).encode()
    if suffix == ".jsonl":
        records = [json.loads(line) for line in content.splitlines() if line.strip()]
        return "".join(json.dumps(_pruned(one, columns)) + "\n" for one in records).encode()
    table = parse(name, content, text=True).drop(columns=list(columns))
    if suffix == ".parquet":
        return table.to_parquet(index=False)
    separator = "\t" if suffix == ".tsv" else ","
    return table.to_csv(index=False, sep=separator, lineterminator="\n").encode()


def _pruned(record: dict, columns: set[str]) -> dict:
    return {key: value for key, value in record.items() if key not in columns}


def _without_in_archive(content: bytes, columns: set[str]) -> bytes:
    written = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for member in old.infolist():
            inside = old.read(member)
            name = member.filename
            if name.lower().endswith(SUFFIXES) and _columns_inside(name, inside) & columns:
                inside = _without(name, inside, columns & _columns_inside(name, inside))
            # a fixed date: the same tables give the same bytes
            new.writestr(zipfile.ZipInfo(name), inside, zipfile.ZIP_DEFLATED)
    return written.getvalue()
