"""From a metric's value to a score that can be compared between competitions."""

import numpy as np


def position_score(score: float, leaderboard: np.ndarray, higher_is_better: bool) -> float:
    """MLE-Dojo's position score in [0, 1]: `(N - position + 1) / N`, ties share the best place.

    `position` is one plus the number of strictly better entries, so a score worse than all `N`
    entries gets 0 and one at least as good as the best gets 1 (arXiv 2505.07782, HumanRank).
    """
    if not np.isfinite(score):
        raise ValueError(f"metric value {score} cannot be ranked: reject the submission first")
    if len(leaderboard) == 0:
        raise ValueError("leaderboard is empty: a position needs at least one entry")
    better = leaderboard > score if higher_is_better else leaderboard < score
    return float((len(leaderboard) - np.count_nonzero(better)) / len(leaderboard))
