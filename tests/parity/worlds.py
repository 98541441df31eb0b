"""Competitions to judge in: some of the embedded suite, and MLE-Dojo's on synthetic tables."""

import csv
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mledojo_metrics
import numpy as np
import pandas as pd

from agent.competitions.folder import canary, digest, prepare_competition
from agent.competitions.loading import PRIVATE_BOARD, PUBLIC_BOARD, load_competition
from agent.competitions.suite import find_entry
from agent.core.competition import Competition
from agent.wrappers.mledojo_metrics import load_metric
from parity.submissions import submissions

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "config/mle_dojo/competitions.csv"
# One for each metric of the suite.
EMBEDDED = (
    "cancer-poisson-deviance-count-target",
    "china-rmse-few-rows",
    "engel-mae-outliers",
    "engel-rmsle-skewed-target",
    "iris-auc-unit-errors",
    "iris-log-loss-irrelevant-columns",
    "wine-macro-f1-unit-errors",
)
WITH_PROGRAMS = (*EMBEDDED[2:3], *EMBEDDED[6:], "titanic", "bike-sharing-demand")
PER_FAMILY = 2  # of MLE-Dojo's competitions of one kind of metric and direction, in the record


@dataclass(frozen=True)
class World:
    """One competition, open for both halves of its answers, and what to submit in it."""

    competition: Competition
    source: str  # embedded | mle_dojo
    family: str  # the kind of metric, in the words of its source
    submissions: dict[str, bytes]


@contextmanager
def open_embedded(name: str) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / name
        prepare_competition(find_entry(name), ROOT / f"config/leaderboards/{name}.csv", folder)
        competition = load_competition(folder, "both")
        given, perfect = _embedded_tables(competition)
        files = submissions(given, competition.answers, perfect)
        yield World(competition, "embedded", competition.metric.name, files)


def _embedded_tables(competition: Competition) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A submission of which every third row is right, the others like the sample; and the best."""
    sample = pd.read_csv(competition.public / "sample_submission.csv")
    targets = sample.columns[1:]
    truth = competition.answers.set_index("id")["target"].loc[sample["id"]].to_numpy()
    perfect = sample.astype(dict.fromkeys(targets, float))
    if len(targets) > 1:
        perfect[targets] = np.eye(len(targets))[truth.astype(int)]
    else:
        above_zero = competition.metric.name == "poisson_deviance"
        perfect["target"] = truth.clip(1e-9) if above_zero else truth
    right = np.arange(len(sample)) % 3 == 0
    given = sample.astype(dict.fromkeys(targets, float))
    given.loc[right, targets] = perfect.loc[right, targets]
    return given, perfect


@contextmanager
def open_upstream(checkout: Path, name: str) -> Iterator[World]:
    """A competition of MLE-Dojo with its boards, and with answers that its metric accepts.

    Raises ValueError when its metric cannot be loaded, or accepts none of our tables.
    """
    metric = load_metric(checkout, name)
    answers, given = mledojo_metrics.synthesise(name, metric.upstream)
    common = {column: answers[column] for column in given if column in answers}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / name
        _write(folder, checkout, name, answers, given)
        competition = load_competition(folder, "both", lambda facts: metric)
        files = submissions(given, answers, given.assign(**common))
        yield World(competition, "mle_dojo", families()[name], files)


def _write(
    folder: Path, checkout: Path, name: str, answers: pd.DataFrame, given: pd.DataFrame
) -> None:
    (folder / "data/public").mkdir(parents=True)
    (folder / "data/private").mkdir()
    info = checkout / "mledojo/competitions" / name / "info"
    for board in (PUBLIC_BOARD, PRIVATE_BOARD):
        shutil.copy(info / Path(board).name, folder / board)
    given.to_csv(folder / "data/public/sample_submission.csv", index=False)
    (folder / "data/public/description.txt").write_text(name)
    answers.to_csv(folder / "data/private/test_answer.csv", index=False)
    facts: dict[str, Any] = dict.fromkeys(("group", "data_set", "task_type"), "")
    facts |= {"name": name, "id_column": given.columns[0], "canary": canary(name)}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    facts["files"] = {str(path.relative_to(folder)): digest(path.read_bytes()) for path in files}
    (folder / "competition.json").write_text(json.dumps(facts))


def families() -> dict[str, str]:
    """The kind of metric of each of MLE-Dojo's competitions, as its last tag says."""
    with TABLE.open() as lines:
        rows = list(csv.DictReader(lines))
    return {row["slug"]: row["tags"].rpartition(";")[2] or "untagged" for row in rows}


def directions() -> dict[str, bool]:
    with TABLE.open() as lines:
        return {row["slug"]: row["higher_is_better"] == "yes" for row in csv.DictReader(lines)}
