"""What a claim of learning must be measured against: simple policies, and the base with more tries.

The reference pool names its pipelines, so what one fixed program would have scored on every
competition can be read off the leaderboards. Fixed choices are made on training competitions only.
Positions are MLE-Dojo's position scores in [0, 1]; a pipeline that failed has position 0.
"""

from collections.abc import Mapping, Sequence
from math import comb

import numpy as np
import pandas as pd

# The reference pool's pipelines that know nothing but the training targets.
DUMMIES = {"classification": "raw+prior", "regression": "value:raw+mean"}


def pool_positions(board: pd.DataFrame, higher_is_better: bool) -> pd.DataFrame:
    """Position score of every pipeline on either half, indexed by pipeline.

    `board` has the columns pipeline, feedback and final with raw metric values.
    """
    scores = board.set_index("pipeline")[["feedback", "final"]].to_numpy(dtype=float)
    ranked = np.sort(scores if higher_is_better else -scores, axis=0)
    own = scores if higher_is_better else -scores
    better = np.stack(
        [
            len(ranked) - np.searchsorted(ranked[:, half], own[:, half], side="right")
            for half in range(2)
        ],
        axis=1,
    )
    return pd.DataFrame(
        1.0 - better / len(board), index=board["pipeline"], columns=["feedback", "final"]
    )


def training_matrix(
    positions: Mapping[str, pd.DataFrame], competitions: Sequence[str]
) -> pd.DataFrame:
    """(pipelines, competitions) mean position over the two halves, 0 where a pipeline failed."""
    columns = {name: positions[name].mean(axis=1) for name in competitions}
    return pd.DataFrame(columns).fillna(0.0).sort_index()


def choose_portfolio(matrix: pd.DataFrame, data_sets: Mapping[str, str], size: int) -> list[str]:
    """Greedily the `size` pipelines whose best member is best on average, data sets equal.

    The first one is the best fixed program.
    """
    competitions = list(matrix.columns)
    counts = pd.Series([data_sets[name] for name in competitions]).value_counts()
    weights = np.array([1.0 / counts[data_sets[name]] for name in competitions])
    values = matrix.to_numpy()
    best, chosen = np.zeros(len(competitions)), []
    for _ in range(size):
        gains = np.maximum(values, best) @ weights
        chosen.append(int(np.argmax(gains)))
        best = np.maximum(best, values[chosen[-1]])
    return [str(matrix.index[row]) for row in chosen]


def portfolio_score(positions: pd.DataFrame, portfolio: Sequence[str]) -> float:
    """Final position of the portfolio's member that is best on the feedback half."""
    members = positions.reindex(list(portfolio)).fillna(0.0)
    return float(members["final"].to_numpy()[members["feedback"].argmax()])


def pool_scores(
    competitions: pd.DataFrame, positions: Mapping[str, pd.DataFrame], size: int
) -> pd.DataFrame:
    """Scores of dummy, best fixed program and fixed portfolio on held-out competitions.

    `competitions` has the columns competition, group, data_set and task_type; fixed choices are
    made per task type, since no program fits both.
    """
    rows: list[tuple[str, str, int, float, int]] = []
    for task_type, members in competitions.groupby("task_type"):
        train = members.loc[members["group"] == "train", "competition"].tolist()
        if not train:
            raise ValueError(f"no training competition of task type {task_type} to choose on")
        data_sets = dict(zip(members["competition"], members["data_set"], strict=True))
        chosen = choose_portfolio(training_matrix(positions, train), data_sets, size)
        portfolios = {
            "dummy": [DUMMIES[str(task_type)]],
            "best_fixed_program": chosen[:1],
            "fixed_portfolio": chosen,
        }
        rows += [
            (policy, name, 0, portfolio_score(positions[name], portfolio), len(portfolio))
            for name in members.loc[members["group"] == "held_out", "competition"]
            for policy, portfolio in portfolios.items()
        ]
    columns = ["policy", "competition", "episode", "score", "executions"]
    return pd.DataFrame(rows, columns=columns)


def best_of_n(base: pd.DataFrame, n: int) -> tuple[float, int]:
    """Expected final score of `n` different first attempts, of which the best on feedback counts.

    `base` has one row per episode of one competition with `first_score`, `first_feedback_score`
    and `executions`; episodes that executed nothing are no attempt. The expectation is over all
    sets of `n` of the N attempts there are, so nothing is drawn: the i-th best on feedback (from 0)
    is the best of C(N - 1 - i, n - 1) of the C(N, n) sets. Attempts that tie on feedback count
    alike. Also returns the attempts that were used, at most those there are.
    """
    attempts = base[base["executions"] > 0]
    if attempts.empty:
        raise ValueError(f"{base['competition'].iloc[0]}: the base never executed a program")
    known = len(attempts)
    used = min(n, known)
    tied = attempts.groupby("first_feedback_score")["first_score"]
    final = tied.transform("mean")[attempts["first_feedback_score"].sort_values().index[::-1]]
    sets = [comb(known - 1 - place, used - 1) / comb(known, used) for place in range(known)]
    return float(final.to_numpy() @ np.array(sets)), used
