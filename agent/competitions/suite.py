"""Which competitions there are: problems crossed with conditions, grouped by data set."""

from dataclasses import dataclass

import pandas as pd

from agent.competitions.problem import TaskType
from agent.competitions.problems import PROBLEMS

CLASSIFICATION_METRICS = ("auc", "macro_f1", "log_loss", "accuracy")

GROUPS: dict[str, tuple[str, ...]] = {
    "train": (
        "digits", "wine", "iris", "fair", "modechoice", "photo_china", "star98", "cancer", "engel",
        "co2", "sunspots", "macrodata", "ccard",
    ),
    "validation": ("diabetes", "interest_inflation"),
    "held_out": (
        "breast_cancer", "anes96", "randhie", "elnino", "photo_flower", "grunfeld", "fertility",
    ),
}  # fmt: skip

# (metric, condition) -> problems. A cell is judged on data sets other than those it is trained on.
CELLS: dict[tuple[str, str], str] = {
    ("auc", "unit-errors"): "digits-eight iris fair mode-rows star-pass sunspots-up "
    "diabetes-high anes-vote elnino-up",
    ("auc", "irrelevant-columns"): "digits-eight iris fair mode-rows star-pass "
    "diabetes-high anes-vote",
    ("macro_f1", "unit-errors"): "digits wine mode-person breast-cancer",
    ("log_loss", "irrelevant-columns"): "digits wine iris mode-person breast-cancer anes-camp",
    ("mae", "outliers"): "fair-amount china star-rate cancer engel co2 sunspots investment ccard "
    "diabetes anes-party grunfeld",
    ("mae", "unit-errors"): "china star-rate engel co2 sunspots investment "
    "diabetes german-interest anes-party elnino flower",
    ("rmsle", "skewed-target"): "fair-amount star-size cancer engel randhie grunfeld",
    ("rmse", "few-rows"): "china star-rate co2 sunspots investment "
    "german-interest elnino fertility",
    ("rmse", "irrelevant-columns"): "china star-rate cancer sunspots flower fertility",
    ("poisson_deviance", "count-target"): "cancer star-size sunspots randhie",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One competition of the suite, before any row is read."""

    problem: str
    metric: str
    condition: str

    @property
    def name(self) -> str:
        return f"{self.problem}-{self.metric.replace('_', '-')}-{self.condition}"

    @property
    def data_set(self) -> str:
        return PROBLEMS[self.problem][0]

    @property
    def task_type(self) -> TaskType:
        return "classification" if self.metric in CLASSIFICATION_METRICS else "regression"

    @property
    def group(self) -> str:
        return next(group for group, members in GROUPS.items() if self.data_set in members)


SUITE: dict[str, Entry] = {
    entry.name: entry
    for (metric, condition), problems in CELLS.items()
    for entry in (Entry(problem, metric, condition) for problem in problems.split())
}


def find_entry(name: str) -> Entry:
    """Look a competition up by name."""
    if name not in SUITE:
        raise ValueError(f"competition {name!r} is not in the suite: see config/competitions.tsv")
    return SUITE[name]


def listing() -> pd.DataFrame:
    """The suite as a table, one competition a row: the content of config/competitions.tsv."""
    rows = [
        (e.name, e.group, e.data_set, e.task_type, e.metric, e.condition) for e in SUITE.values()
    ]
    return pd.DataFrame(
        rows, columns=["competition", "group", "data_set", "task_type", "metric", "condition"]
    ).sort_values("competition", ignore_index=True)
