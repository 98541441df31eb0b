"""A competition as the project sees it: what the agent is told, and how submissions are judged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pandas as pd

Half = Literal["feedback", "final", "both"]  # both: all answers count, as in MLE-Dojo itself


class InvalidSubmissionError(Exception):
    """The submission breaks the competition's rules; the message is shown to the agent."""


class UnrankableSubmissionError(InvalidSubmissionError):
    """Every value is allowed, but the metric overflows on this half of the answers."""


class Metric(Protocol):
    """How a competition scores a submission (the shape of MLE-Dojo's `CompetitionMetrics`)."""

    @property
    def name(self) -> str: ...

    @property
    def higher_is_better(self) -> bool: ...

    def validate(self, submission: pd.DataFrame, answers: pd.DataFrame) -> None:
        """Raise `InvalidSubmissionError` unless ids, columns and values are exactly as asked."""

    def evaluate(self, answers: pd.DataFrame, submission: pd.DataFrame) -> float:
        """Score a validated submission; a plain finite Python float."""


@dataclass(frozen=True, slots=True)
class Competition:
    """One prepared competition, opened for one half of its answers.

    `answers` and `leaderboards` belong to that half only: a process that plays episodes opens the
    feedback half and never reads the final one, unless upstream's scoring asks for both.
    """

    name: str
    group: str  # train | validation | held_out
    data_set: str  # competitions of one data set never sit in two groups
    task_type: str  # classification | regression
    description: str
    public: Path  # what programs may read
    metric: Metric
    id_column: str
    test_ids: np.ndarray  # (test rows,) of all answers
    half: Half
    answers: pd.DataFrame
    leaderboards: tuple[np.ndarray, ...]  # each (entries,) raw metric values, best first
    canary: str  # a mark in every private file; where else it appears, private data has leaked


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
