"""What the evaluation says: one tidy table of measures with intervals, one of competitions.

Columns of the first: `measure` of `policy` in `group`; `against` is the policy (or, for the
generalisation gap, the group) it is compared with; `aggregate` says how the scores became one
number; `low` and `high` bound the 95 % interval whose kind is `interval`: "clustered" is the one to
quote, for new training runs on the same competitions, the others are percentiles of a resampling
scheme. `n_runs` counts the runs of `policy`, `n_missing_runs` those planned but not there, which
`missing_runs` names; `note` says when an interval must be doubted. Rows with a `p_value` test for
no difference, two-sided; `p_adjusted` is corrected for the comparisons of the row's `family`.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from agent.evaluation.clustered import clustered_estimate
from agent.evaluation.inputs import AGENTS, BEST_OF_N, Scoring
from agent.evaluation.multiplicity import adjust
from agent.evaluation.quantities import (
    STATISTICS_COLUMNS,
    Comparison,
    Quantity,
    Row,
    clustered_note,
    named_runs,
)
from agent.evaluation.scores import cell_difference, groups, policies, score_matrix
from agent.evaluation.statistics import (
    AGGREGATES,
    PAIRED_DIFFERENCES,
    Array,
    Measure,
    Scheme,
    difference,
    generator,
    iqm,
    mean,
    performance_profile,
    probability_of_improvement,
)

SCHEMES: tuple[Scheme, ...] = ("stratified", "runs", "data_sets")
THRESHOLDS = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))


def compare_policies(
    scores: pd.DataFrame,
    resamples: int,
    seed: int,
    planned: tuple[int, ...] = (),
    told: Scoring = "halves",
) -> pd.DataFrame:
    """The table of measures; `scores` must hold the policies "base" and "trained".

    Runs that were `planned` and are not in `scores` are counted as missing, never filled in. Where
    agents were `told` of all answers there is no gap between feedback and scores.
    """
    missing = [agent for agent in AGENTS if agent not in policies(scores)]
    if missing:
        raise ValueError(f"scores: no row of policy {missing[0]}; evaluate it first")
    comparison = Comparison(scores, resamples, seed, planned, told)
    rows: list[Row] = []
    for group in groups(scores):
        present = policies(scores, group)
        for policy in present:
            rows += _scores_of(comparison, group, policy)
        if BEST_OF_N in present:
            attempts = score_matrix(scores, BEST_OF_N, group, "executions")
            quantity = Quantity("attempts", group, BEST_OF_N, "", "mean")
            rows += comparison.rows(quantity, mean, attempts, schemes=())
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
    return adjust(pd.DataFrame(rows, columns=list(STATISTICS_COLUMNS)))


def _scores_of(comparison: Comparison, group: str, policy: str) -> Iterator[Row]:
    matrix = score_matrix(comparison.scores, policy, group)
    for name, aggregate in AGGREGATES.items():
        yield from comparison.rows(Quantity("score", group, policy, "", name), aggregate, matrix)
    for threshold in THRESHOLDS:
        above = Quantity("performance_profile", group, policy, "", f"above_{threshold}")
        yield from comparison.rows(above, share_above(threshold), matrix, schemes=())


def share_above(threshold: float) -> Measure:
    """One point of the performance profile."""
    thresholds = np.array([threshold])
    return lambda values, weights: performance_profile(values, weights, thresholds)[:, 0]


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
            yield from comparison.rows(quantity, AGGREGATES[name], matrix)
    later = Quantity("later_attempts_gain", group, agent, "", "mean")
    yield from comparison.rows(later, mean, cell_difference(score, first))
    if comparison.told == "halves":
        gap = Quantity("feedback_gap", group, agent, "", "mean")
        yield from comparison.rows(gap, mean, cell_difference(feedback, score))
    rate = Quantity("valid_rate", group, agent, "", "ratio")
    yield from comparison.rows(rate, ratio_to(executed.values), valid)


def ratio_to(executed: Array) -> Measure:
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
        quantity = Quantity(measure, group, "trained", other, aggregate)
        yield from comparison.rows(quantity, compute, *pair, schemes=SCHEMES)
    for aggregate, paired in PAIRED_DIFFERENCES.items():
        quantity = Quantity("paired_difference", group, "trained", other, aggregate)
        yield from comparison.rows(quantity, paired, *pair, schemes=())
    if other == "base":
        firsts = [score_matrix(scores, name, group, "first_score") for name in ("trained", other)]
        quantity = Quantity("first_attempt_gain", group, "trained", other, "iqm")
        yield from comparison.rows(quantity, difference(iqm), *firsts)


def _generalisation_gaps(comparison: Comparison) -> Iterator[Row]:
    """How much better an agent is where training could have helped it than on new data sets.

    Training competitions may be easier than held-out ones, which shows in the base's gap; the gap
    between the gains is free of that.
    """
    both = ("train", "held_out")
    present = [
        agent
        for agent in AGENTS
        if all(agent in policies(comparison.scores, group) for group in both)
    ]
    pairs = {
        agent: [score_matrix(comparison.scores, agent, group) for group in both]
        for agent in present
    }
    for agent, pair in pairs.items():
        for aggregate in ("iqm", "mean"):
            quantity = Quantity("generalisation_gap", "train", agent, "held_out", aggregate)
            gap = difference(AGGREGATES[aggregate])
            yield from comparison.rows(quantity, gap, *pair, players=(agent, agent))
    if present == list(AGENTS):
        quantity = Quantity("gain_gap", "train", "trained", "held_out", "iqm")
        four = (*pairs["trained"], *pairs["base"])
        players = ("trained", "trained", "base", "base")
        yield from comparison.rows(quantity, _gain_gap, *four, schemes=(), players=players)


def _gain_gap(*parts: Array) -> Array:
    """(trained - base) on training competitions minus the same on held-out ones."""
    trained, trained_new, base, base_new = (iqm(*parts[i : i + 2]) for i in range(0, 8, 2))
    return (trained - base) - (trained_new - base_new)


def compare_competitions(
    scores: pd.DataFrame, resamples: int, seed: int, planned: tuple[int, ...] = ()
) -> pd.DataFrame:
    """Mean score of every policy and the gain of trained over base, per competition.

    `low` and `high` bound the gain (95 %, clustered by run), `p_value` tests for no gain and
    `p_adjusted` is corrected for all competitions of the group. A policy that did not play a group
    has empty cells there; `planned` runs that an agent lacks are counted and named as missing.
    """
    comparison = Comparison(scores, resamples, seed, planned)
    tables = [
        _competitions_of(comparison, group)
        for group in groups(scores)
        if set(AGENTS) <= set(policies(scores, group))
    ]
    facts = scores.groupby("competition")[["data_set", "task_type"]].first().reset_index()
    together = pd.concat(tables, ignore_index=True)
    return facts.merge(adjust(together), on="competition", how="right")


def _competitions_of(comparison: Comparison, group: str) -> pd.DataFrame:
    scores = comparison.scores
    base, trained = (score_matrix(scores, agent, group) for agent in AGENTS)
    table = pd.DataFrame({"group": group, "competition": base.competitions})
    for name in policies(scores):
        played = name in policies(scores, group)
        table[name] = score_matrix(scores, name, group).values.mean(0) if played else np.nan
    rng = generator(comparison.seed, "competitions", group)
    gains = clustered_estimate(_gains, [trained, base], comparison.resamples, rng)
    table["gain"], table["p_value"] = gains.value, gains.p_value
    table["low"], table["high"] = np.clip((gains.low, gains.high), -1.0, 1.0)
    table["probability_of_improvement"] = [
        _probability(trained.values[:, column], base.values[:, column])
        for column in range(len(table))
    ]
    for agent, matrix in zip(AGENTS, (base, trained), strict=True):
        missing = comparison.missing_runs(agent, matrix)
        table[f"n_runs_{agent}"] = len(matrix.runs)
        table[f"n_missing_runs_{agent}"] = len(missing)
        table[f"missing_runs_{agent}"] = named_runs(missing)
    table["note"] = [clustered_note(error, (trained, base)) for error in gains.standard_error]
    return table.assign(family=f"gain of trained over base on each competition, {group}")


def _gains(x: Array, x_weights: Array, y: Array, y_weights: Array) -> Array:
    """Difference of the means over runs, (B, C)."""
    return (x * x_weights).sum(1) / x_weights.sum(1) - (y * y_weights).sum(1) / y_weights.sum(1)


def _probability(x: Array, y: Array) -> float:
    return float(((x[:, None] > y) + 0.5 * (x[:, None] == y)).mean())
