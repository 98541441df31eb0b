"""A problem: what is to be predicted from which columns, and which rows must stay together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from agent.competitions.data_sets import DataSet

TaskType = Literal["classification", "regression"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Features and target, row by row; classes are 0..K-1, and 0 of them means regression.

    `groups`: rows with equal values stay on one side of every split (None: each row by itself).
    `held_back`: True where only the test may use the row: a later time, the other half of a photo.
    `ordered`: rows are in time order and stay in it.
    """

    title: str
    about: str
    data_set: DataSet
    features: pd.DataFrame
    target: np.ndarray  # (rows,) int labels or floats
    classes: int
    train_rows: int = 300  # at most
    groups: np.ndarray | None = None
    held_back: np.ndarray | None = None
    ordered: bool = False

    @property
    def task_type(self) -> TaskType:
        return "classification" if self.classes else "regression"


ProblemBuilder = Callable[[DataSet], Problem]
