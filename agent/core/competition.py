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
