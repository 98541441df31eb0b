"""Aggregates over runs and competitions, and bootstrap intervals for them.

The measures are those of rliable (Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge
of the Statistical Precipice", arXiv 2108.13264), on a matrix of one mean score per (run,
competition). A bootstrap resample is written as a multiplicity of every cell, so that the point
estimate (all ones) and all resampling schemes share one implementation.

Shapes: R runs, C competitions, B resamples. `values` is (R, C), `weights` is (B, R, C), a measure
is (B,). Weights are whole numbers; a resample keeps the size of the sample in every scheme but
`data_sets`, where data sets with different numbers of competitions may replace each other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import comb
from typing import Literal, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.special import factorial
from scipy.stats import t as student

Array = NDArray[np.float64]
# (values, weights) -> (B, ...), or (values, weights, values, weights) -> (B, ...) for two policies.
Measure = Callable[..., Array]
# What is drawn again: runs, for each competition independently (rliable); whole runs, which keeps
# together the scores of one training run; whole data sets, which keeps their competitions.
Scheme = Literal["stratified", "runs", "data_sets"]

RESAMPLES_AT_ONCE = 1000  # bounds memory
NO_VARIANCE = 1e-24  # of scores in [0, 1]: what rounding leaves where all runs are equal


@dataclass(frozen=True, slots=True)
class ScoreMatrix:
    """Mean scores of one policy in one group of competitions."""

    values: Array  # (R, C)
    runs: tuple[int, ...]
    competitions: tuple[str, ...]
    data_sets: tuple[str, ...]  # of each competition


class Estimate(NamedTuple):
    """A measure of the sample and the ends of its 95 % percentile bootstrap interval."""

    value: Array
    low: Array
    high: Array


class ClusteredEstimate(NamedTuple):
    """A measure, its 95 % interval for new runs, and the two-sided test against a null value."""

    value: Array
    low: Array
    high: Array
    standard_error: Array
    degrees_of_freedom: Array
    p_value: Array


def mean(values: Array, weights: Array) -> Array:
    return (values * weights).sum((1, 2)) / weights.sum((1, 2))


def iqm(values: Array, weights: Array) -> Array:
    """Interquartile mean: the mean without the lowest and the highest 25 % of all R * C scores."""
    return trimmed_mean(values.ravel(), weights.reshape(len(weights), -1), lambda n: n // 4)


def median(values: Array, weights: Array) -> Array:
    """Median over competitions of the mean over runs."""
    repeats = weights.sum(1)  # (B, C)
    means = _divide((values * weights).sum(1), repeats)
    return trimmed_mean(means, repeats // len(values), lambda n: (n - 1) // 2)


def optimality_gap(values: Array, weights: Array) -> Array:
    """Mean distance to the best possible score, 1."""
    return 1.0 - mean(np.minimum(values, 1.0), weights)


AGGREGATES: dict[str, Measure] = {
    "iqm": iqm,
    "mean": mean,
    "median": median,
    "optimality_gap": optimality_gap,
}


def trimmed_mean(values: Array, weights: Array, cut: Callable[[Array], Array]) -> Array:
    """Mean of the weighted `values` without the `cut(total weight)` lowest and highest.

    values (N,) or (B, N); weights (B, N). With whole weights this equals repeating each value as
    often as its weight says and trimming the sorted list.
    """
    order = np.argsort(values, axis=-1, kind="stable")
    if values.ndim == 1:  # the same order for all resamples
        ordered, weights = values[order], weights[:, order]
    else:
        ordered, weights = (np.take_along_axis(part, order, -1) for part in (values, weights))
    upper = np.cumsum(weights, axis=-1)
    lower = np.concatenate([np.zeros((len(upper), 1)), upper[:, :-1]], axis=-1)
    total = upper[:, -1:]
    trimmed = cut(total)
    kept = np.clip(np.minimum(upper, total - trimmed) - np.maximum(lower, trimmed), 0.0, None)
    return (kept * ordered).sum(-1) / kept.sum(-1)


def _divide(numerator: Array, denominator: Array) -> Array:
    """Quotient, and 0 where the denominator is 0: such a cell has no weight afterwards."""
    return np.divide(numerator, denominator, np.zeros_like(numerator), where=denominator > 0)


def difference(measure: Measure) -> Measure:
    """`measure` of the first policy minus `measure` of the second."""
    return lambda x, x_weights, y, y_weights: measure(x, x_weights) - measure(y, y_weights)


def _paired_difference(cut: Callable[[Array], Array]) -> Measure:
    """Trimmed mean of the differences, competition by competition, of the means over runs."""

    def paired(x: Array, x_weights: Array, y: Array, y_weights: Array) -> Array:
        means = [
            _divide((values * weights).sum(1), weights.sum(1))
            for values, weights in ((x, x_weights), (y, y_weights))
        ]
        gains = means[0] - means[1]  # (B, C)
        return trimmed_mean(gains, np.ones_like(gains), cut)

    return paired


PAIRED_DIFFERENCES: dict[str, Measure] = {
    "iqm": _paired_difference(lambda n: n // 4),
    "mean": _paired_difference(lambda n: 0 * n),
    "median": _paired_difference(lambda n: (n - 1) // 2),
}


def probability_of_improvement(x: Array, x_weights: Array, y: Array, y_weights: Array) -> Array:
    """P(X > Y) + P(X = Y) / 2 over all pairs of runs, averaged over competitions."""
    better = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])  # (R_x, R_y, C)
    against_each = np.matmul(x_weights.transpose(2, 0, 1), better.transpose(2, 0, 1))
    wins = (against_each * y_weights.transpose(2, 0, 1)).sum(-1).T  # (B, C)
    repeats = x_weights.sum(1)
    probabilities = _divide(wins, repeats * y_weights.sum(1))
    return (probabilities * repeats).sum(1) / repeats.sum(1)


def performance_profile(values: Array, weights: Array, thresholds: Array) -> Array:
    """Share of (run, competition) scores above each threshold; (B, thresholds)."""
    above = values.reshape(-1, 1) > thresholds
    flat = weights.reshape(len(weights), -1)
    return (flat @ above) / flat.sum(1, keepdims=True)


def draw(
    scheme: Scheme, matrices: Sequence[ScoreMatrix], size: int, rng: np.random.Generator
) -> list[Array]:
    """Draw `size` resamples: the multiplicity of every cell, (size, R, C) for each matrix.

    Runs of different matrices are independent; data sets are common to all matrices.
    """
    if scheme == "data_sets":
        names, data_set = np.unique(np.array(matrices[0].data_sets), return_inverse=True)
        counts = _multinomial(len(names), (size,), rng)[:, None, data_set]
        return [np.repeat(counts, len(matrix.runs), axis=1) for matrix in matrices]
    weights = []
    for matrix in matrices:
        runs, competitions = matrix.values.shape
        if scheme == "stratified":
            counts = _multinomial(runs, (size, competitions), rng).transpose(0, 2, 1)
        else:
            counts = np.repeat(_multinomial(runs, (size,), rng)[:, :, None], competitions, axis=2)
        weights.append(counts)
    return weights


def _multinomial(units: int, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """How often each unit is drawn in `units` draws with replacement, (*shape, units)."""
    return rng.multinomial(units, np.full(units, 1 / units), shape).astype(np.float64)


def estimate(
    measure: Measure,
    matrices: Sequence[ScoreMatrix],
    scheme: Scheme,
    resamples: int,
    rng: np.random.Generator,
) -> Estimate:
    """`measure` of one or two matrices, with its 95 % percentile bootstrap interval."""
    if resamples < 1:
        raise ValueError(f"estimate: resamples must be at least 1, got {resamples}")
    sample = [np.ones((1, *matrix.values.shape)) for matrix in matrices]
    full, rest = divmod(resamples, RESAMPLES_AT_ONCE)
    sizes = [RESAMPLES_AT_ONCE] * full + [rest] * (rest > 0)
    drawn = [_apply(measure, matrices, draw(scheme, matrices, size, rng)) for size in sizes]
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975], axis=0)
    return Estimate(_apply(measure, matrices, sample)[0], low, high)


def clustered_estimate(
    measure: Measure,
    matrices: Sequence[ScoreMatrix],
    resamples: int,
    rng: np.random.Generator,
    players: Sequence[str] = (),
    null: float = 0.0,
) -> ClusteredEstimate:
    """`measure` with its 95 % interval for new training runs on the same competitions.

    Whole runs are drawn again, those of one policy at a time; competitions stay. The variance of
    the resamples times R / (R - 1), since R draws out of R runs vary too little, is what a
    policy's runs contribute. Their sum gives Student's interval with the degrees of freedom of
    Welch and Satterthwaite, which for a mean is Welch's own. Percentiles of the same resamples
    cannot reach beyond the few runs there are, and cover too little (benchmarks/coverage.py).

    `players` names who played each matrix; matrices of one player share its runs. Without a
    second run or any difference between runs there is no error to measure: such parts are NaN.
    """
    names = tuple(players) or tuple(map(str, range(len(matrices))))
    value = _apply(measure, matrices, [np.ones((1, *matrix.values.shape)) for matrix in matrices])
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
    reach = student.ppf(0.975, freedom) * error
    p_value = 2 * student.sf(np.abs(value[0] - null) / error, freedom)
    return ClusteredEstimate(value[0], value[0] - reach, value[0] + reach, error, freedom, p_value)


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
        drawn.append(_apply(measure, matrices, weights))
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
        draws = _multinomial(runs, (resamples,), rng)
        shares = np.full(resamples, 1 / resamples)
    for first in range(0, len(draws), RESAMPLES_AT_ONCE):
        part = slice(first, first + RESAMPLES_AT_ONCE)
        yield draws[part], shares[part]


def _apply(measure: Measure, matrices: Sequence[ScoreMatrix], weights: list[Array]) -> Array:
    pairs = zip(matrices, weights, strict=True)
    return measure(*(part for matrix, weight in pairs for part in (matrix.values, weight)))


def point(measure: Measure, matrix: ScoreMatrix) -> Array:
    """`measure` of the sample alone."""
    return _apply(measure, [matrix], [np.ones((1, *matrix.values.shape))])[0]


def generator(seed: int, *key: str) -> np.random.Generator:
    """A stream for one quantity: its interval stays the same when other quantities come or go."""
    return np.random.default_rng([seed, crc32("/".join(key).encode())])
