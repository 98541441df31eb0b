"""Intervals for new training runs on the same competitions: whole runs, drawn again."""

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement
from math import comb
from typing import NamedTuple

import numpy as np
from scipy.special import expit, factorial, logit
from scipy.stats import t as student

from agent.evaluation.statistics import (
    RESAMPLES_AT_ONCE,
    Array,
    Measure,
    ScoreMatrix,
    apply_measure,
    multinomial,
)

NO_VARIANCE = 1e-24  # of scores in [0, 1]: what rounding leaves where all resamples are equal


class ClusteredEstimate(NamedTuple):
    """A measure, its 95 % interval for new runs, and the two-sided test against a null value."""

    value: Array
    low: Array
    high: Array
    standard_error: Array
    degrees_of_freedom: Array
    p_value: Array


def clustered_estimate(
    measure: Measure,
    matrices: Sequence[ScoreMatrix],
    resamples: int,
    rng: np.random.Generator,
    players: Sequence[str] = (),
    null: float = 0.0,
    of_share: bool = False,
) -> ClusteredEstimate:
    """`measure` with its 95 % interval for new training runs on the same competitions.

    Whole runs are drawn again, those of one policy at a time; competitions stay. The variance of
    the resamples times R / (R - 1), since R draws out of R runs vary too little, is what a
    policy's runs contribute. Their sum gives Student's interval with the degrees of freedom of
    Welch and Satterthwaite, which for a mean is Welch's own. Percentiles of the same resamples
    cannot reach beyond the few runs there are, and cover too little (benchmarks/coverage.py).

    `players` names who played each matrix; matrices of one player share its runs. Without a
    second run, or where the measure is the same in every resample, there is no error to measure:
    such parts are NaN.
    A measure `of_share` is a probability or a share: its interval is symmetric in log-odds, which
    covers better than one that is symmetric in a bounded number, and stays within [0, 1].
    """
    names = tuple(players) or tuple(map(str, range(len(matrices))))
    value = apply_measure(
        measure, matrices, [np.ones((1, *matrix.values.shape)) for matrix in matrices]
    )
    variance, welch = np.zeros_like(value[0]), np.zeros_like(value[0])
    for player in dict.fromkeys(names):
        runs = len(matrices[names.index(player)].runs)
        if runs > 1:
            moves = [name == player for name in names]
            part = _variance_over_runs(measure, matrices, moves, runs, resamples, rng)
            part = part * runs / (runs - 1)
            variance = variance + part
            welch = welch + part**2 / (runs - 1)
    varies = variance > NO_VARIANCE
    error = np.where(varies, np.sqrt(variance), np.nan)
    freedom = np.divide(variance**2, welch, np.full_like(variance, np.nan), where=varies)
    judged = _in_log_odds if of_share else _by_student
    low, high, p_value = judged(np.where(varies, value[0], np.nan), error, freedom, null)
    return ClusteredEstimate(value[0], low, high, error, freedom, p_value)


def _by_student(
    value: Array, error: Array, freedom: Array, null: float
) -> tuple[Array, Array, Array]:
    """The ends of the interval and the p-value."""
    reach = student.ppf(0.975, freedom) * error
    p_value = 2 * student.sf(np.abs(value - null) / error, freedom)
    return value - reach, value + reach, p_value


def _in_log_odds(
    value: Array, error: Array, freedom: Array, null: float
) -> tuple[Array, Array, Array]:
    """The same, with the error carried over to log-odds (the delta method)."""
    in_odds = error / (value * (1 - value))
    low, high, p_value = _by_student(logit(value), in_odds, freedom, logit(null))
    return expit(low), expit(high), p_value


def _variance_over_runs(
    measure: Measure,
    matrices: Sequence[ScoreMatrix],
    moves: Sequence[bool],
    runs: int,
    resamples: int,
    rng: np.random.Generator,
) -> Array:
    """Bootstrap variance of `measure` when the runs of the matrices that move are drawn again."""
    drawn, shares = [], []
    for draws, share in _draws_of_runs(runs, resamples, rng):
        weights = [
            np.repeat(draws[:, :, None], matrix.values.shape[1], axis=2)
            if moving
            else np.ones((1, *matrix.values.shape))
            for matrix, moving in zip(matrices, moves, strict=True)
        ]
        drawn.append(apply_measure(measure, matrices, weights))
        shares.append(share)
    values, probabilities = np.concatenate(drawn), np.concatenate(shares)
    centre = np.tensordot(probabilities, values, 1)
    return np.tensordot(probabilities, (values - centre) ** 2, 1)


def _draws_of_runs(
    runs: int, resamples: int, rng: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    """Multiplicities (D, R) with their probabilities (D,), in parts that bound memory.

    All there are, where these are no more than `resamples` (up to 7 runs for 2,000): exact, and
    the same for every seed. Otherwise as many random ones.
    """
    if comb(2 * runs - 1, runs) <= resamples:
        chosen = combinations_with_replacement(range(runs), runs)
        draws = np.array([np.bincount(one, minlength=runs) for one in chosen], dtype=float)
        shares = factorial(runs) / factorial(draws).prod(1) / float(runs) ** runs
    else:
        draws = multinomial(runs, (resamples,), rng)
        shares = np.full(resamples, 1 / resamples)
    for first in range(0, len(draws), RESAMPLES_AT_ONCE):
        part = slice(first, first + RESAMPLES_AT_ONCE)
        yield draws[part], shares[part]
