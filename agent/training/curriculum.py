"""Which competitions the episodes of an iteration play, where not all are played equally often.

Pure functions of what a run has played before. An iteration's weights become episodes through a
low-discrepancy sequence, so that every shard knows its own part without asking the others.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from agent.core.records import Trajectory

UNIFORM_SHARE = 0.5  # of the learnability weights, so that no competition is ever given up
_GOLDEN_RATIO = (5**0.5 - 1) / 2


def category_weights(names: Sequence[str], categories: Sequence[str]) -> pd.DataFrame:
    """Every category equally often, and within one every competition; weights sum to 1.

    The balanced sampling of multi-task learning: without it a category with many competitions
    decides what is learnt.
    """
    table = pd.DataFrame({"competition": names, "category": categories})
    sizes = table["category"].map(table["category"].value_counts())
    return table.assign(weight=1 / (sizes * table["category"].nunique()))


def learnability_weights(names: Sequence[str], played: Sequence[Trajectory]) -> pd.DataFrame:
    """More of what a policy sometimes does well and sometimes not; weights sum to 1.

    Sampling for learnability (arXiv 2408.15099) prefers levels by p (1 - p), the variance of a
    success that happens with probability p, and mixes them with others at random. Here an
    episode's outcome is its best position score, 0 without any, and the weight is the outcomes'
    unbiased variance, which for successes and failures is p (1 - p). A competition with fewer than
    two outcomes counts as an average one.
    """
    outcomes: dict[str, list[float]] = defaultdict(list)
    for trajectory in played:
        outcomes[trajectory.competition].append(trajectory.best_position)
    variances = [
        float(np.var(outcomes[name], ddof=1)) if len(outcomes[name]) > 1 else np.nan
        for name in names
    ]
    table = pd.DataFrame(
        {
            "competition": names,
            "episodes": [len(outcomes[name]) for name in names],
            "mean_score": [np.mean(outcomes[name]) if outcomes[name] else np.nan for name in names],
            "variance": variances,
        }
    )
    learnable = table["variance"].fillna(table["variance"].mean()).fillna(0.0)
    total = learnable.sum()
    preferred = learnable / total if total > 0 else 1 / len(table)
    return table.assign(weight=UNIFORM_SHARE / len(table) + (1 - UNIFORM_SHARE) * preferred)


def read_weights(path: Path, names: Sequence[str]) -> list[float]:
    """The weight of each of `names` in a table that one of the functions above made."""
    table = pd.read_csv(path, sep="\t")
    weights = dict(zip(table["competition"], table["weight"], strict=True))
    if missing := [name for name in names if name not in weights]:
        raise ValueError(f"{path}: no weight for {missing[0]}: weigh the competitions again")
    return [weights[name] for name in names]


def draw_competitions(weights: Sequence[float], episodes: int, first: int, seed: int) -> np.ndarray:
    """Which competition each episode plays, (episodes,) positions in `weights`.

    Steps of the golden ratio around a circle on which each competition has an arc as long as its
    weight: any stretch of episodes, a shard as well as an iteration, plays each one close to as
    often as its weight says. `first` is how many episodes of the run come before.
    """
    ends = np.cumsum(weights) / np.sum(weights)
    start = np.random.default_rng(seed).random()
    points = (start + np.arange(first, first + episodes) * _GOLDEN_RATIO) % 1.0
    return np.minimum(np.searchsorted(ends, points, side="right"), len(ends) - 1)
