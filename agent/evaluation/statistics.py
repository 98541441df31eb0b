"""Aggregates over runs and competitions, and bootstrap intervals for them.

The measures are those of rliable (Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge
of the Statistical Precipice", arXiv 2108.13264), on a matrix of one mean score per (run,
competition). A bootstrap resample is written as a multiplicity of every cell, so that the point
estimate (all ones) and all resampling schemes share one implementation.

Shapes: R runs, C competitions, B resamples. `values` is (R, C), `weights` is (B, R, C), a measure
is (B,). Weights are whole numbers; a resample keeps the size of the sample in every scheme but
`data_sets`, where data sets with different numbers of competitions may replace each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# (values, weights) -> (B, ...), or (values, weights, values, weights) -> (B, ...) for two policies.
Measure = Callable[..., Array]
# What is drawn again: runs, for each competition independently (rliable); whole runs, which keeps
# together the scores of one training run; whole data sets, which keeps their competitions.
Scheme = Literal["stratified", "runs", "data_sets"]

RESAMPLES_AT_ONCE = 1000  # bounds memory


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
        counts = multinomial(len(names), (size,), rng)[:, None, data_set]
        return [np.repeat(counts, len(matrix.runs), axis=1) for matrix in matrices]
    weights = []
    for matrix in matrices:
        runs, competitions = matrix.values.shape
        if scheme == "stratified":
            counts = multinomial(runs, (size, competitions), rng).transpose(0, 2, 1)
        else:
            counts = np.repeat(multinomial(runs, (size,), rng)[:, :, None], competitions, axis=2)
        weights.append(counts)
    return weights


def multinomial(units: int, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
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
    drawn = [apply_measure(measure, matrices, draw(scheme, matrices, size, rng)) for size in sizes]
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975], axis=0)
    return Estimate(apply_measure(measure, matrices, sample)[0], low, high)


def apply_measure(measure: Measure, matrices: Sequence[ScoreMatrix], weights: list[Array]) -> Array:
    pairs = zip(matrices, weights, strict=True)
    return measure(*(part for matrix, weight in pairs for part in (matrix.values, weight)))


def point(measure: Measure, matrix: ScoreMatrix) -> Array:
    """`measure` of the sample alone."""
    return apply_measure(measure, [matrix], [np.ones((1, *matrix.values.shape))])[0]


def generator(seed: int, *key: str) -> np.random.Generator:
    """A stream for one quantity: its interval stays the same when other quantities come or go."""
    return np.random.default_rng([seed, crc32("/".join(key).encode())])
