"""Each competition by itself: measures of its episodes, clustered by run.

Here a cell is one episode, where the aggregates over competitions have mean scores of runs in
theirs; an interval still counts only the runs as independent.
"""

from collections.abc import Iterator

import pandas as pd

from agent.evaluation.comparison import THRESHOLDS, ratio_to, share_above
from agent.evaluation.inputs import AGENTS
from agent.evaluation.multiplicity import adjust
from agent.evaluation.quantities import Comparison, Quantity, Row
from agent.evaluation.scores import cell_difference, groups, policies
from agent.evaluation.statistics import (
    Array,
    Measure,
    ScoreMatrix,
    difference,
    iqm,
    mean,
    optimality_gap,
    trimmed_mean,
)


def median_episode(values: Array, weights: Array) -> Array:
    """Median of all episodes."""
    return trimmed_mean(values.ravel(), weights.reshape(len(weights), -1), lambda n: (n - 1) // 2)


def episodes_better(x: Array, x_weights: Array, y: Array, y_weights: Array) -> Array:
    """P(X > Y) + P(X = Y) / 2 over all pairs of episodes."""
    one, other = x.reshape(-1, 1), y.reshape(1, -1)
    better = (one > other) + 0.5 * (one == other)
    weights = [part.reshape(len(part), -1) for part in (x_weights, y_weights)]
    wins = ((weights[0] @ better) * weights[1]).sum(1)
    return wins / (weights[0].sum(1) * weights[1].sum(1))


SCORES: dict[str, Measure] = {
    "iqm": iqm,
    "mean": mean,
    "median": median_episode,
    "optimality_gap": optimality_gap,
}
COMPARISONS: tuple[tuple[str, str, Measure], ...] = (
    ("gain", "iqm", difference(iqm)),
    ("gain", "mean", difference(mean)),
    ("gain", "median", difference(median_episode)),
    ("probability_of_improvement", "episodes", episodes_better),
)


def measure_competitions(comparison: Comparison) -> pd.DataFrame:
    """The columns of the table of measures, with `competition` and `n_episodes` per run.

    The tests of one measure on all competitions of a group are a family.
    """
    rows = [
        row | {"competition": name} | _family(row)
        for group in groups(comparison.scores)
        for name, episodes in _last_episodes(comparison.scores, group)
        for row in _rows(comparison, group, episodes, name)
    ]
    table = adjust(pd.DataFrame(rows)).rename(columns={"n_competitions": "n_episodes"})
    return table[["competition", *(name for name in table if name != "competition")]]


def _family(row: Row) -> dict[str, str]:
    named = f"{row['measure']} ({row['aggregate']}) on each competition, {row['group']}"
    return {"family": named if row["family"] else ""}


def _last_episodes(scores: pd.DataFrame, group: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The agents' episodes on each competition, of each one's last iteration."""
    agents = scores[scores["policy"].isin(AGENTS)]
    last = agents.groupby("policy")["iteration"].transform("max")
    played = agents[(agents["iteration"] == last) & (agents["group"] == group)]
    for name, episodes in played.groupby("competition"):
        yield str(name), episodes


def _rows(comparison: Comparison, group: str, episodes: pd.DataFrame, name: str) -> Iterator[Row]:
    present = policies(episodes)
    for agent in present:
        score, feedback, executed, valid = (
            _matrix(episodes, agent, column, name)
            for column in ("score", "feedback_score", "executions", "valid_submissions")
        )
        for aggregate, measure in SCORES.items():
            quantity = Quantity("score", group, agent, "", aggregate)
            yield from comparison.rows(quantity, measure, score, schemes=())
        for threshold in THRESHOLDS:
            quantity = Quantity("performance_profile", group, agent, "", f"above_{threshold}")
            yield from comparison.rows(quantity, share_above(threshold), score, schemes=())
        if comparison.told == "halves":
            gap = cell_difference(feedback, score)
            quantity = Quantity("feedback_gap", group, agent, "", "mean")
            yield from comparison.rows(quantity, mean, gap, schemes=())
        quantity = Quantity("valid_rate", group, agent, "", "ratio")
        yield from comparison.rows(quantity, ratio_to(executed.values), valid, schemes=())
    if present == list(AGENTS):
        base, trained = (_matrix(episodes, agent, "score", name) for agent in AGENTS)
        for label, aggregate, compared in COMPARISONS:
            quantity = Quantity(label, group, "trained", "base", aggregate)
            yield from comparison.rows(quantity, compared, trained, base, schemes=())


def _matrix(episodes: pd.DataFrame, policy: str, column: str, name: str) -> ScoreMatrix:
    """(runs, episodes) of one competition; the order of episodes within a run means nothing."""
    rows = episodes[episodes["policy"] == policy].sort_values(["seed", "episode"])
    runs = rows["seed"].unique()
    values = rows[column].to_numpy(dtype=float).reshape(len(runs), -1)
    columns = tuple(f"{name}, episode {number}" for number in range(values.shape[1]))
    return ScoreMatrix(values, tuple(map(int, runs)), columns, (name,) * len(columns))
