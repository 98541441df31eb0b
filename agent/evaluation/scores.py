"""From rows of episodes to the matrix of mean scores that statistics are computed on."""

import numpy as np
import pandas as pd

from agent.evaluation.inputs import AGENTS, GROUPS
from agent.evaluation.statistics import ScoreMatrix


def policies(scores: pd.DataFrame, group: str | None = None) -> list[str]:
    """The policies with rows (in `group`): the agents first, then the yardsticks by name."""
    rows = scores if group is None else scores[scores["group"] == group]
    present = set(rows["policy"])
    return [name for name in AGENTS if name in present] + sorted(present - set(AGENTS))


def groups(scores: pd.DataFrame) -> list[str]:
    return [group for group in GROUPS if group in set(scores["group"])]


def score_matrix(
    scores: pd.DataFrame,
    policy: str,
    group: str,
    column: str = "score",
    iteration: int | None = None,
) -> ScoreMatrix:
    """Mean of `column` per (run, competition) at `iteration`, by default the policy's last.

    Every run of the policy must have played every competition of the group equally often; a run
    that is missing anywhere raises and is never filled in.
    """
    of_policy = scores[scores["policy"] == policy]
    of_group = scores[scores["group"] == group]
    if of_policy.empty or of_group.empty:
        raise ValueError(f"scores: no row of policy {policy} in group {group}")
    at = of_policy["iteration"].max() if iteration is None else iteration
    rows = of_policy[(of_policy["iteration"] == at) & (of_policy["group"] == group)]
    runs = sorted(of_policy["seed"].unique())
    data_sets = of_group.groupby("competition")["data_set"].first()  # sorted by competition
    cells = rows.groupby(["seed", "competition"])[column]
    where = f"scores of {policy}, iteration {at}, {group}"
    _check_complete(where, cells.size(), runs, list(data_sets.index))
    means = cells.mean().unstack("competition").loc[runs, data_sets.index]
    if means.isna().any(axis=None):
        raise ValueError(f"{where}: {column} is empty; only agents have it")
    # Rounding makes equal scores equal again after averaging in a different order.
    return ScoreMatrix(
        np.ascontiguousarray(means.to_numpy(float).round(12)),
        tuple(int(run) for run in runs),
        tuple(data_sets.index),
        tuple(data_sets),
    )


def _check_complete(
    where: str, episodes: pd.Series, runs: list[int], competitions: list[str]
) -> None:
    for run in runs:
        for competition in competitions:
            if (run, competition) not in episodes.index:
                raise ValueError(
                    f"{where}: run {run} has no episode of {competition}; evaluate it or leave "
                    "the run out"
                )
    if episodes.nunique() > 1:
        fewest = episodes.idxmin()
        raise ValueError(
            f"{where}: episodes per run and competition differ ({episodes.min()} to "
            f"{episodes.max()}, fewest in {fewest}); evaluate all equally often"
        )


def cell_difference(x: ScoreMatrix, y: ScoreMatrix) -> ScoreMatrix:
    """x - y of the same runs, cell by cell."""
    if (x.runs, x.competitions) != (y.runs, y.competitions):
        raise ValueError("cell_difference: the matrices are of different runs or competitions")
    values = (x.values - y.values).round(12)
    return ScoreMatrix(values, x.runs, x.competitions, x.data_sets)
