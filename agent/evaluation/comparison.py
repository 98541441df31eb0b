"""What the evaluation says: one tidy table of measures with intervals, one of competitions.

Columns of the first: `measure` of `policy` in `group`; `against` is the policy (or, for the
generalisation gap, the group) it is compared with; `aggregate` says how the scores became one
number; `low` and `high` bound the 95 % percentile bootstrap interval whose resampling scheme is
`interval`; `n_runs` counts the runs of `policy`; `note` says when an interval must be doubted.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import pandas as pd

from agent.evaluation.inputs import AGENTS
from agent.evaluation.scores import cell_difference, groups, policies, score_matrix
from agent.evaluation.statistics import (
    AGGREGATES,
    Array,
    Measure,
    Scheme,
    ScoreMatrix,
    difference,
    estimate,
    generator,
    iqm,
    mean,
    probability_of_improvement,
)

STATISTICS_COLUMNS = (
    "measure",
    "group",
    "policy",
    "against",
    "aggregate",
    "value",
    "low",
    "high",
    "interval",
    "n_runs",
    "n_competitions",
    "note",
)
SCHEMES: tuple[Scheme, ...] = ("stratified", "runs", "data_sets")
FEW = 5  # percentile intervals from fewer runs or data sets are known to be too narrow
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Quantity:
    """What one row is about; also names the random stream of its interval."""

    measure: str
    group: str
    policy: str
    against: str
    aggregate: str
    interval: Scheme = "stratified"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The scores and how their intervals are drawn."""

    scores: pd.DataFrame
    resamples: int
    seed: int

    def row(self, quantity: Quantity, measure: Measure, *matrices: ScoreMatrix) -> Row:
        rng = generator(self.seed, *astuple(quantity))
        value, low, high = estimate(measure, matrices, quantity.interval, self.resamples, rng)
        units, note = _units(quantity.interval, matrices)
        ends = (low, high) if units > 1 else (np.nan, np.nan)
        *subject, interval = astuple(quantity)
        fields = (*subject, value, *ends, interval, *matrices[0].values.shape, note)
        return dict(zip(STATISTICS_COLUMNS, fields, strict=True))


def compare_policies(scores: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """The table of measures; `scores` must hold the policies "base" and "trained"."""
    missing = [agent for agent in AGENTS if agent not in policies(scores)]
    if missing:
        raise ValueError(f"scores: no row of policy {missing[0]}; evaluate it first")
    comparison = Comparison(scores, resamples, seed)
    rows: list[Row] = []
    for group in groups(scores):
        present = policies(scores, group)
        for policy in present:
            rows += _scores_of(comparison, group, policy)
        rows += [
            row
            for agent in AGENTS
            if agent in present
            for row in _episodes_of(comparison, group, agent)
        ]
        if "trained" in present:
            for other in present:
                if other != "trained":
                    rows += _trained_against(comparison, group, other)
    rows += _generalisation_gaps(comparison)
    return pd.DataFrame(rows, columns=list(STATISTICS_COLUMNS))


def _scores_of(comparison: Comparison, group: str, policy: str) -> Iterator[Row]:
    matrix = score_matrix(comparison.scores, policy, group)
    for name, aggregate in AGGREGATES.items():
        yield comparison.row(Quantity("score", group, policy, "", name), aggregate, matrix)


def _episodes_of(comparison: Comparison, group: str, agent: str) -> Iterator[Row]:
    """First and last submission, what later attempts added, and how often programs are valid."""
    score, first, last, feedback, executed, valid = (
        score_matrix(comparison.scores, agent, group, column)
        for column in (
            "score",
            "first_score",
            "last_score",
            "feedback_score",
            "executions",
            "valid_submissions",
        )
    )
    for name in ("iqm", "mean"):
        for measure, matrix in (("first_score", first), ("last_score", last)):
            quantity = Quantity(measure, group, agent, "", name)
            yield comparison.row(quantity, AGGREGATES[name], matrix)
    later = Quantity("later_attempts_gain", group, agent, "", "mean")
    yield comparison.row(later, mean, cell_difference(score, first))
    gap = Quantity("feedback_gap", group, agent, "", "mean")
    yield comparison.row(gap, mean, cell_difference(feedback, score))
    rate = Quantity("valid_rate", group, agent, "", "ratio")
    yield comparison.row(rate, _ratio_to(executed.values), valid)


def _ratio_to(executed: Array) -> Measure:
    """Valid submissions per executed program; 0 when no program was executed at all."""

    def ratio(valid: Array, weights: Array) -> Array:
        programs = (executed * weights).sum((1, 2))
        return (valid * weights).sum((1, 2)) / np.where(programs > 0, programs, 1.0)

    return ratio


def _trained_against(comparison: Comparison, group: str, other: str) -> Iterator[Row]:
    scores = comparison.scores
    pair = [score_matrix(scores, name, group) for name in ("trained", other)]
    measures = (
        ("gain", "iqm", difference(iqm)),
        ("gain", "mean", difference(mean)),
        ("probability_of_improvement", "mean", probability_of_improvement),
    )
    for measure, aggregate, compute in measures:
        for scheme in SCHEMES:
            quantity = Quantity(measure, group, "trained", other, aggregate, scheme)
            yield comparison.row(quantity, compute, *pair)
    if other == "base":
        firsts = [score_matrix(scores, name, group, "first_score") for name in ("trained", other)]
        quantity = Quantity("first_attempt_gain", group, "trained", other, "iqm")
        yield comparison.row(quantity, difference(iqm), *firsts)


def _generalisation_gaps(comparison: Comparison) -> Iterator[Row]:
    """How much better an agent is where training could have helped it than on new data sets."""
    for agent in AGENTS:
        if all(agent in policies(comparison.scores, group) for group in ("train", "held_out")):
            pair = [
                score_matrix(comparison.scores, agent, group) for group in ("train", "held_out")
            ]
            quantity = Quantity("generalisation_gap", "train", agent, "held_out", "iqm")
            yield comparison.row(quantity, difference(iqm), *pair)


def _units(scheme: Scheme, matrices: tuple[ScoreMatrix, ...]) -> tuple[int, str]:
    """How many units of the first matrix are resampled, and what a reader must know about it."""
    if scheme == "data_sets":
        units, note = len(set(matrices[0].data_sets)), "data set"
    else:
        units, note = len(matrices[0].runs), "run"
    notes = [interval_note(units, note)]
    if scheme != "data_sets" and units > 1 and any(len(matrix.runs) == 1 for matrix in matrices):
        notes.append("the policy compared with has one run and adds no uncertainty")
    return units, "; ".join(filter(None, notes))


def interval_note(units: int, unit: str) -> str:
    if units == 1:
        return f"one {unit}: no interval"
    return f"only {units} {unit}s: interval probably too narrow" if units < FEW else ""


def compare_competitions(scores: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Mean score of every policy and the gain of trained over base, per competition.

    `low` and `high` bound the gain (95 % percentile bootstrap over runs); a policy that did not
    play a group has empty cells there.
    """
    names = policies(scores)
    tables = []
    for group in groups(scores):
        if not set(AGENTS) <= set(policies(scores, group)):
            continue
        base, trained = (score_matrix(scores, agent, group) for agent in AGENTS)
        table = pd.DataFrame({"group": group, "competition": base.competitions})
        for name in names:
            played = name in policies(scores, group)
            table[name] = score_matrix(scores, name, group).values.mean(0) if played else np.nan
        rng = generator(seed, "competitions", group)
        gains = estimate(_gains, [trained, base], "stratified", resamples, rng)
        table["gain"] = gains.value
        units, note = _units("stratified", (trained, base))
        table["low"], table["high"] = gains[1:] if units > 1 else (np.nan, np.nan)
        table["probability_of_improvement"] = [
            _probability(trained.values[:, column], base.values[:, column])
            for column in range(len(table))
        ]
        table["n_runs_base"], table["n_runs_trained"] = len(base.runs), len(trained.runs)
        tables.append(table.assign(note=note))
    facts = scores.groupby("competition")[["data_set", "task_type"]].first().reset_index()
    return facts.merge(pd.concat(tables, ignore_index=True), on="competition", how="right")


def _gains(x: Array, x_weights: Array, y: Array, y_weights: Array) -> Array:
    """Difference of the means over runs, (B, C)."""
    return (x * x_weights).sum(1) / x_weights.sum(1) - (y * y_weights).sum(1) / y_weights.sum(1)


def _probability(x: Array, y: Array) -> float:
    return float(((x[:, None] > y) + 0.5 * (x[:, None] == y)).mean())
