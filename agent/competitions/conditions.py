"""Announced difficulties: each damages the rows in one known way and says so in one sentence.

Conditions rather than the data sets' own quirks, because the same difficulty repeated over many
data sets is something that can be learnt on some of them and used on others.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

OUTLIER_SHARE = 0.12  # of training targets
UNIT_ERROR_SHARE = 0.04  # of cells
UNIT_ERROR_FACTOR = 100
IRRELEVANT_COLUMNS = 60
FEW_ROWS = 25
LATEST = "lag1"


@dataclass(frozen=True, slots=True)
class Rows:
    """Features and targets on both sides of a split; nothing but the row order links them."""

    train: pd.DataFrame
    train_target: np.ndarray
    test: pd.DataFrame
    test_target: np.ndarray


@dataclass(frozen=True, slots=True)
class Condition:
    """`sentence` is what the competition's description says, the same in all of them."""

    sentence: str
    apply: Callable[[Rows, np.random.Generator], Rows]


def _outliers(rows: Rows, rng: np.random.Generator) -> Rows:
    target = rows.train_target.astype(float)
    hit = rng.choice(len(target), max(3, int(OUTLIER_SHARE * len(target))), replace=False)
    target[hit] = 6 * target[hit] + 3 * target.std()
    return replace(rows, train_target=target)


def _unit_errors(rows: Rows, rng: np.random.Generator) -> Rows:
    """Spares the latest value of a series: it is the one somebody has just looked at."""

    def damage(table: pd.DataFrame) -> pd.DataFrame:
        hit = rng.random(table.shape) < UNIT_ERROR_SHARE
        hit &= (table.columns != LATEST)[None, :]
        return table * np.where(hit, UNIT_ERROR_FACTOR, 1)

    return replace(rows, train=damage(rows.train), test=damage(rows.test))


def _irrelevant_columns(rows: Rows, rng: np.random.Generator) -> Rows:
    """Adds shuffled copies of real columns; names other than the latest value's would tell."""
    both = pd.concat([rows.train, rows.test], ignore_index=True)
    copied = rng.choice(both.shape[1], IRRELEVANT_COLUMNS)
    shuffled = [rng.permutation(both.iloc[:, column].to_numpy()) for column in copied]
    widened = pd.concat([both, pd.DataFrame(dict(enumerate(shuffled)))], axis=1)
    order = rng.permutation(widened.shape[1])
    names = [
        LATEST if widened.columns[column] == LATEST else f"v{place}"
        for place, column in enumerate(order)
    ]
    widened = widened.iloc[:, order].set_axis(names, axis=1)
    cut = len(rows.train)
    return replace(rows, train=widened[:cut], test=widened[cut:].reset_index(drop=True))


def _few_rows(rows: Rows, rng: np.random.Generator) -> Rows:
    """Keeps the last rows, which in time order are the ones next to the test."""
    train = rows.train[-FEW_ROWS:].reset_index(drop=True)
    return replace(rows, train=train, train_target=rows.train_target[-FEW_ROWS:])


def _unchanged(rows: Rows, rng: np.random.Generator) -> Rows:
    return rows


CONDITIONS: dict[str, Condition] = {
    "outliers": Condition("some training targets are corrupted by large errors", _outliers),
    "unit-errors": Condition("some cells of train and test are 100 times too large", _unit_errors),
    "irrelevant-columns": Condition("60 added columns carry no signal", _irrelevant_columns),
    "few-rows": Condition("only 25 training rows", _few_rows),
    "skewed-target": Condition("the target is positive and skewed", _unchanged),
    "count-target": Condition("the target is a count", _unchanged),
}
