"""Preparing a competition of MLE-Dojo as a folder: upstream's files, two halves, the facts."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agent.competitions.catalogue import CatalogueEntry
from agent.competitions.folder import canary
from agent.competitions.kaggle_source import (
    RawSource,
    check_space,
    checksum,
    obtain,
    stated_room,
    unpack,
)
from agent.competitions.leak_audit import drop_leaking_columns
from agent.competitions.loading import ANSWERS, CANARY, PRIVATE_BOARD, PUBLIC_BOARD
from agent.competitions.loading import load_competition as load
from agent.core.competition import Half, InvalidSubmissionError, Metric
from agent.core.environment import grade
from agent.core.files import check_free

GROUPS = {"training": "train", "evaluation": "held_out"}
KINDS = {"Tabular": "Tabular", "Text": "NLP", "NLP": "NLP", "Image": "CV"}  # tags of the page
DESCRIPTION = "data/public/description.txt"
SAMPLE = "data/public/sample_submission.csv"
DSBENCH = ("data_resplit", "answers", "task")
Preparer = Callable[[Path, Path, Path], None]


@dataclass(frozen=True, slots=True)
class Upstream:
    """What one competition takes from MLE-Dojo; the caller knows how to run its code."""

    checkout: Path
    commit: str
    title: str
    prepare: Preparer  # (raw, public, private)
    metric: Metric


def prepare_kaggle_competition(
    entry: CatalogueEntry,
    upstream: Upstream,
    source: RawSource,
    output: Path,
    group: str = "",
    drop_leaks: bool = False,
) -> dict[str, Any]:
    """Write the competition's folder at once, and return its facts.

    group: what a study uses it for, if not what its split in MLE-Dojo says.
    drop_leaks: leave out public columns that give the answers away by themselves.

    Everything happens in a private folder beside the output, which is removed in any case. A
    folder prepared before stays as it is until the new one is complete.
    """
    output = output.resolve()
    if not (output / "competition.json").exists():
        check_free(output)
    with _workplace(output) as work:
        check_space(work, stated_room(entry, source), source.free)
        archive = obtain(entry, source, work)
        origin = checksum(archive)
        folder = work / "competition"
        public, private = folder / "data/public", folder / "data/private"
        for part in (public, private):
            part.mkdir(parents=True)
        if entry.source == "dsbench":
            _lay_out_dsbench(_dsbench_files(entry.slug, archive, work, source), entry.slug, folder)
        else:
            unpack(archive, work / "raw", source.free)
            if source.archive is None:
                archive.unlink()
            upstream.prepare(work / "raw", public, private)
        _add_info(upstream.checkout / "mledojo/competitions" / entry.slug / "info", folder)
        group = group or GROUPS[entry.split]
        facts = _write_facts(entry, upstream, origin, folder, group)
        if drop_leaks:
            facts["dropped_columns"] = drop_leaking_columns(folder)
            _save(facts, folder)
        _replace(output, folder, work / "earlier")
    return facts


@contextmanager
def _workplace(output: Path) -> Iterator[Path]:
    work = output.with_name(f".{output.name}.partial")
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _replace(output: Path, folder: Path, earlier: Path) -> None:
    if output.exists():
        output.rename(earlier)
    try:
        folder.rename(output)
    except OSError:
        if earlier.exists():
            earlier.rename(output)
        raise


def _dsbench_files(slug: str, archive: Path, work: Path, source: RawSource) -> Path:
    """The folder that holds data_resplit, answers and task; of an archive only this task's part."""
    root = archive
    if not archive.is_dir():
        root = work / "raw"
        members = [f"{part}/{slug}{end}" for part in DSBENCH for end in ("/", ".txt")]
        unpack(archive, root, source.free, tuple(f"data/{member}" for member in members))
    return root / "data" if (root / "data").is_dir() else root


def _lay_out_dsbench(root: Path, slug: str, folder: Path) -> None:
    """The folder that upstream's prepare/dsbench.py makes; its random row is drawn by the name."""
    tables = root / "data_resplit" / slug
    samples = [p for p in sorted(tables.glob("*.csv")) if "submission" in p.name.lower()]
    wanted = {
        "train.csv": tables / "train.csv",
        "test.csv": tables / "test.csv",
        "sample_submission.csv": (samples or [tables / "sample_solution.csv"])[0],
        "description.txt": root / f"task/{slug}.txt",
    }
    answers = root / "answers" / slug / "test_answer.csv"
    for file in [*wanted.values(), answers]:
        if not file.is_file():
            inside = file.relative_to(root)
            raise ValueError(f"{slug}: no {inside} in the archive: is it DSBench's data.zip?")
    for name, file in wanted.items():
        shutil.copyfile(file, folder / "data/public" / name)
    shutil.copyfile(answers, folder / ANSWERS["both"])
    _unify_sample(slug, folder)


def _unify_sample(slug: str, folder: Path) -> None:
    """The sample submission repeats the answer of one row where both have the same columns."""
    sample, answers = _table(folder / SAMPLE), _table(folder / ANSWERS["both"])
    if list(sample.columns) == list(answers.columns):
        row = int.from_bytes(_digest(slug, "sample"), "big") % len(answers)
        values = {column: answers[column].iloc[row] for column in answers.columns[1:]}
        answers.assign(**values).to_csv(folder / SAMPLE, index=False)


def _add_info(info: Path, folder: Path) -> None:
    """The boards, and the description unless the task brought its own."""
    for path in (PUBLIC_BOARD, PRIVATE_BOARD):
        board = _table(info / Path(path).name)
        if "score" not in board or not len(board) or not np.isfinite(board["score"]).all():
            raise ValueError(f"{info / Path(path).name}: no scores: check mle_dojo.checkout")
        shutil.copyfile(info / Path(path).name, folder / path)
    if not (folder / DESCRIPTION).exists():
        shutil.copyfile(info / "description.txt", folder / DESCRIPTION)


def _write_facts(
    entry: CatalogueEntry, upstream: Upstream, origin: str, folder: Path, group: str
) -> dict[str, Any]:
    """Split the answers, verify by opening and grading, and write competition.json."""
    sample, answers = _table(folder / SAMPLE), _table(folder / ANSWERS["both"])
    key = id_column(sample, answers)
    mark = canary(entry.slug)
    facts: dict[str, Any] = {
        "name": entry.slug,
        "title": upstream.title,
        "group": group,
        "data_set": entry.slug,
        "task_type": task_type(entry),
        "metric": upstream.metric.name,
        "higher_is_better": upstream.metric.higher_is_better,
        "id_column": key or str(sample.columns[0]),
        "test_rows": len(sample),
        "source": entry.page,
        "copyright": entry.licence_link,
        "mle_dojo_checkout": str(upstream.checkout),
        "mle_dojo_commit": upstream.commit,
        "archive": origin,
        CANARY: mark,
    }
    obstacle = _obstacle(sample, answers, key)
    if not obstacle:
        _write_halves(entry.slug, key, answers[key], mark, folder)
    _save(facts, folder)
    obstacle = obstacle or _refusal(folder, upstream.metric, ("feedback", "final"))
    if obstacle:
        facts["halves"] = obstacle
        for half in ("feedback", "final"):
            (folder / ANSWERS[half]).unlink(missing_ok=True)
    whole = "the answers themselves" if _gives_away(sample, answers, key) else "valid"
    facts["sample_submission"] = _refusal(folder, upstream.metric, ("both",)) or whole
    _save(facts, folder)
    return facts


def id_column(sample: pd.DataFrame, answers: pd.DataFrame) -> str:
    """The first column of the sample submission that the answers share; empty if there is none."""
    return next((str(column) for column in sample.columns if column in answers.columns), "")


def _obstacle(sample: pd.DataFrame, answers: pd.DataFrame, key: str) -> str:
    """Why the answers cannot be split by id; empty when they can."""
    if not key:
        return "sample_submission.csv and test_answer.csv share no column"
    if sample[key].isna().any() or sample[key].duplicated().any():
        return f"{key} is not unique in sample_submission.csv"
    if set(sample[key]) != set(answers[key]):
        return f"{key} has other values in sample_submission.csv than in test_answer.csv"
    return "" if len(sample) > 1 else "there is only one row"


def feedback_ids(slug: str, ids: pd.Series) -> set[Any]:
    """Half of the distinct ids: those that come first by a hash of the slug and the id.

    Rows that share an id stay together, and the order of the rows does not matter.
    """
    ranked = sorted(ids.unique().tolist(), key=lambda value: _digest(slug, str(value)))
    return set(ranked[: len(ranked) // 2])


def _write_halves(slug: str, key: str, ids: pd.Series, mark: str, folder: Path) -> None:
    """Both halves with every value as it is written in test_answer.csv, and the mark."""
    rows = pd.read_csv(folder / ANSWERS["both"], dtype=str, keep_default_na=False)
    in_feedback = ids.isin(feedback_ids(slug, ids)).to_numpy()
    halves: dict[Half, np.ndarray] = {"feedback": in_feedback, "final": ~in_feedback}
    for half, mask in halves.items():
        table = rows[mask].assign(**{CANARY: mark})
        table.to_csv(folder / ANSWERS[half], index=False, lineterminator="\n")


def _refusal(folder: Path, metric: Metric, halves: tuple[Half, ...]) -> str:
    """Why the sample submission is not graded, whole or on a half; empty when it is.

    This is the very path that an agent's submission takes.
    """
    sample = (folder / SAMPLE).read_bytes()
    for half in halves:
        try:
            grade(load(folder, half, lambda facts: metric), sample)
        except InvalidSubmissionError as refused:
            place = "" if half == "both" else f" on the {half} half"
            reason = " ".join(str(refused).split())
            return f"the sample submission is refused{place}: {reason}"
    return ""


def _gives_away(sample: pd.DataFrame, answers: pd.DataFrame, key: str) -> bool:
    """Whether the sample submission holds the very answers, as some of upstream's scripts leave it.

    A column of one value says nothing, nor does one that the tables do not share.
    """
    shared = [column for column in sample.columns if column in answers.columns and column != key]
    told = [column for column in shared if answers[column].nunique() > 1]
    if not told or len(sample) != len(answers):
        return False
    left, right = (table.sort_values(key, kind="stable")[told] for table in (sample, answers))
    return bool((left.astype(str).to_numpy() == right.astype(str).to_numpy()).all())


def task_type(entry: CatalogueEntry) -> str:
    """The category; of the training split, which has none, what the page's tags say."""
    by_tags = [KINDS[tag] for tag in entry.tags if tag in KINDS]
    return entry.category or next(iter(by_tags), "other")


def _save(facts: dict[str, Any], folder: Path) -> None:
    """Write competition.json: checksums of what is private or small, sizes of what is public."""
    private = sorted(path for path in (folder / "data/private").rglob("*") if path.is_file())
    public = sorted(path for path in (folder / "data/public").rglob("*") if path.is_file())
    summed = [folder / DESCRIPTION, folder / SAMPLE, *private]
    facts["public_bytes"] = {
        path.relative_to(folder).as_posix(): path.stat().st_size for path in public
    }
    facts["files"] = {path.relative_to(folder).as_posix(): checksum(path) for path in summed}
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    (folder / "competition.json").write_text(text, encoding="utf-8")


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (ValueError, OSError) as unreadable:
        raise ValueError(f"{path}: no readable table: {unreadable}") from unreadable


def _digest(slug: str, value: str) -> bytes:
    return hashlib.blake2b(f"{slug}\0{value}".encode(), digest_size=16).digest()
