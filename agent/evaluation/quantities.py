"""One measured quantity as rows of the table of measures: with every kind of interval it has."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from agent.evaluation.clustered import clustered_estimate
from agent.evaluation.inputs import AGENTS, Scoring
from agent.evaluation.interval_worth import data_sets_note, runs_note
from agent.evaluation.statistics import (
    Array,
    Measure,
    Scheme,
    ScoreMatrix,
    estimate,
    generator,
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
    "standard_error",
    "degrees_of_freedom",
    "p_value",
    "p_adjusted",
    "family",
    "n_missing_runs",
    "missing_runs",
)
# Measures that compare, and their value where nothing differs; all others lie in [0, 1] or, as the
# attempts of the base's best of n, have no interval.
NULLS = {
    "gain": 0.0,
    "first_attempt_gain": 0.0,
    "later_attempts_gain": 0.0,
    "paired_difference": 0.0,
    "feedback_gap": 0.0,
    "generalisation_gap": 0.0,
    "gain_gap": 0.0,
    "probability_of_improvement": 0.5,
}
SHARES = ("performance_profile", "valid_rate", "probability_of_improvement")
# Tests of these are a family for each measure, of the others one for each group.
PRIMARY = ("gain", "paired_difference", "probability_of_improvement")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Quantity:
    """What one row is about; also names the random stream of its interval."""

    measure: str
    group: str
    policy: str
    against: str
    aggregate: str
    interval: Scheme | Literal["clustered"] = "stratified"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The scores and how their intervals are drawn; `planned` runs are missed if not there."""

    scores: pd.DataFrame
    resamples: int
    seed: int
    planned: tuple[int, ...] = ()
    told: Scoring = "halves"  # the answers behind feedback: those that judge, too, if upstream

    def rows(
        self,
        quantity: Quantity,
        measure: Measure,
        *matrices: ScoreMatrix,
        schemes: tuple[Scheme, ...] = ("stratified",),
        players: tuple[str, ...] = (),
    ) -> Iterator[Row]:
        """The quantity with each of its intervals, the one to quote first."""
        yield self._clustered(replace(quantity, interval="clustered"), measure, matrices, players)
        for scheme in schemes:
            yield self._percentiles(replace(quantity, interval=scheme), scheme, measure, matrices)

    def _percentiles(
        self,
        quantity: Quantity,
        scheme: Scheme,
        measure: Measure,
        matrices: tuple[ScoreMatrix, ...],
    ) -> Row:
        rng = generator(self.seed, *astuple(quantity))
        value, low, high = estimate(measure, matrices, scheme, self.resamples, rng)
        units, note = _units(scheme, matrices)
        ends = (float(low), float(high)) if units > 1 else (np.nan, np.nan)
        return self._row(quantity, value, ends, matrices, note)

    def _clustered(
        self,
        quantity: Quantity,
        measure: Measure,
        matrices: tuple[ScoreMatrix, ...],
        players: tuple[str, ...],
    ) -> Row:
        null = NULLS.get(quantity.measure)
        rng = generator(self.seed, *astuple(quantity))
        found = clustered_estimate(
            measure,
            matrices,
            self.resamples,
            rng,
            players,
            null or 0.0,
            of_share=quantity.measure in SHARES,
        )
        lowest = 0.0 if null is None else -1.0
        low, high = np.clip((found.low, found.high), lowest, 1.0)
        ends = (float(low), float(high))
        note = clustered_note(found.standard_error, matrices)
        row = self._row(quantity, found.value, ends, matrices, note)
        row["standard_error"] = float(found.standard_error)
        row["degrees_of_freedom"] = float(found.degrees_of_freedom)
        if null is not None:
            row["p_value"], row["family"] = float(found.p_value), _family(quantity)
        return row

    def _row(
        self,
        quantity: Quantity,
        value: Array,
        ends: tuple[float, ...],
        matrices: tuple[ScoreMatrix, ...],
        note: str,
    ) -> Row:
        missing = self.missing_runs(quantity.policy, matrices[0])
        *subject, interval = astuple(quantity)
        tested = (np.nan, np.nan, np.nan, np.nan, "")
        fields = (*subject, value, *ends, interval, *matrices[0].values.shape, note)
        return dict(
            zip(
                STATISTICS_COLUMNS,
                (*fields, *tested, len(missing), named_runs(missing)),
                strict=True,
            )
        )

    def missing_runs(self, policy: str, matrix: ScoreMatrix) -> list[int]:
        """Planned runs that an agent lacks; yardsticks have none of their own."""
        return sorted(set(self.planned) - set(matrix.runs)) if policy in AGENTS else []


def _family(quantity: Quantity) -> str:
    if quantity.measure not in PRIMARY:
        return f"secondary questions, {quantity.group}"
    named = f"{quantity.measure} ({quantity.aggregate}) of {quantity.policy}"
    return f"{named} over each other policy, {quantity.group}"


def named_runs(runs: Sequence[int]) -> str:
    noun = "run" if len(runs) == 1 else "runs"
    return f"{noun} {', '.join(map(str, runs))}" if runs else ""


def clustered_note(standard_error: Array, matrices: tuple[ScoreMatrix, ...]) -> str:
    """What a reader must know about a clustered interval of two policies or one."""
    runs = len(matrices[0].runs)
    notes = [runs_note(runs, "clustered"), _fixed_note(runs, matrices)]
    if runs > 1 and np.isnan(standard_error).any():
        notes = ["the same in every resample of runs: no interval"]
    return "; ".join(filter(None, notes))


def _units(scheme: Scheme, matrices: tuple[ScoreMatrix, ...]) -> tuple[int, str]:
    """How many units of the first matrix are resampled, and what a reader must know about it."""
    runs = len(matrices[0].runs)
    if scheme == "data_sets":
        units = len(set(matrices[0].data_sets))
        return units, data_sets_note(units, runs)
    return runs, "; ".join(filter(None, (runs_note(runs, scheme), _fixed_note(runs, matrices))))


def _fixed_note(runs: int, matrices: tuple[ScoreMatrix, ...]) -> str:
    fixed = runs > 1 and any(len(matrix.runs) == 1 for matrix in matrices)
    return "the policy compared with has one run and adds no uncertainty" if fixed else ""
