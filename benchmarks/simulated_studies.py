"""Studies that are invented: policies whose scores are known in law, and so the truth.

A study plays 18 fixed competitions, at the levels of the embedded study, five times in each run. A
run of a trained policy is better or worse as a whole and on each competition, runs of the base
differ by sampling alone, episodes are Beta-distributed or without any valid submission.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from agent.evaluation.statistics import Array, ScoreMatrix

# Mean scores of base and trained policy on the held-out competitions of the embedded study.
LEVELS = np.array(
    [
        *((0.71, 0.85), (0.71, 0.83), (0.86, 0.92), (0.75, 0.81), (0.57, 0.79), (0.44, 0.76)),
        *((0.07, 0.58), (0.66, 0.71), (0.23, 0.36), (0.50, 0.56), (0.42, 0.56), (0.77, 0.84)),
        *((0.79, 0.79), (0.64, 0.65), (0.67, 0.86), (0.61, 0.72), (0.42, 0.28), (0.58, 0.73)),
    ]
)
BASE, TRAINED = LEVELS.T
EPISODES = 5
CONCENTRATION = 6.0  # of the Beta distribution: episodes of a run differ by about 0.18
NOTHING_VALID = 0.03
RESAMPLES = 400


@dataclass(frozen=True, slots=True)
class Setting:
    """How much runs of the trained policy differ, as standard deviations of a score's log-odds."""

    name: str
    of_runs: float
    of_cells: float  # of a run on one competition, beyond that


# The first is what the embedded study showed (its runs differ by less than can be told from
# noise); in the second, runs differ from each other as much as training gains.
SETTINGS = (Setting("alike", 0.1, 0.25), Setting("unlike", 0.5, 0.5))
NO_EFFECT = Setting("base", 0.0, 0.0)


def scores(levels: Array, setting: Setting, runs: int, rng: np.random.Generator) -> Array:
    """Mean scores (runs, competitions) of one policy in one study."""
    shape = (runs, len(levels))
    odds = np.log(levels / (1 - levels)) + rng.normal(0, setting.of_runs, (runs, 1))
    means = 1 / (1 + np.exp(-odds - rng.normal(0, setting.of_cells, shape)))[..., None]
    valid = rng.random((*shape, EPISODES)) >= NOTHING_VALID
    best = rng.beta(means * CONCENTRATION, (1 - means) * CONCENTRATION, valid.shape)
    return (best * valid).mean(-1)


def new_levels(sizes: Sequence[int], rng: np.random.Generator) -> Array:
    """Levels (competitions, 2) of base and trained policy on new data sets of these sizes.

    Log-odds have the means and covariance of `LEVELS`; half of what differs between competitions
    is common to a data set (measured: four tenths of the base's level, six of the gain).
    """
    known = logit(LEVELS)
    covariance = np.cov(known.T) / 2
    of_sets, of_competitions = (
        rng.multivariate_normal((0, 0), covariance, size) for size in (len(sizes), sum(sizes))
    )
    return expit(known.mean(0) + np.repeat(of_sets, sizes, axis=0) + of_competitions)


def matrix(values: Array, data_sets: Sequence[str] = ()) -> ScoreMatrix:
    names = tuple(map(str, range(values.shape[1])))
    return ScoreMatrix(values, tuple(range(len(values))), names, tuple(data_sets) or names)
