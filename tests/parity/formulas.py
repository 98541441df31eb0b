"""Textbook formulas of the commonest metrics, in numpy and independent of MLE-Dojo's code.

What they give is compared with the scores that MLE-Dojo's metrics gave when they were recorded.
"""

import math
from collections.abc import Callable
from io import StringIO

import numpy as np
import pandas as pd

SMALLEST = 1e-15  # how far Kaggle keeps probabilities from 0 and 1

Array = np.ndarray
Formula = Callable[[Array, Array], float]  # (truth, prediction), each (rows, columns)


def score(family: str, answers: str, submission: str) -> float:
    """The formula of a family of metrics on two CSV texts, rows matched by their first column."""
    truth, given = (pd.read_csv(StringIO(text)) for text in (answers, submission))
    key = next(name for name in given if name in truth)
    given = given.set_index(key).loc[truth[key]].reset_index()
    targets = [name for name in given if name != key and name in truth]
    return FORMULAS[family](truth[targets].to_numpy(), given[targets].to_numpy())


def agrees(family: str, answers: str, submission: str, recorded: float) -> bool:
    """Whether the formula gives the recorded score; tables that it cannot read do not agree."""
    try:
        found = score(family, answers, submission)
    except (KeyError, StopIteration, TypeError, ValueError, IndexError, ZeroDivisionError):
        return False
    return math.isclose(found, recorded, rel_tol=1e-9, abs_tol=1e-12)


def _columnwise(formula: Formula) -> Formula:
    """The mean of a formula over columns."""

    def mean(truth: Array, given: Array) -> float:
        pairs = zip(truth.T, given.T, strict=True)
        return float(np.mean([formula(one[:, None], other[:, None]) for one, other in pairs]))

    return mean


def _auc(truth: Array, given: Array) -> float:
    """The share of pairs of a positive and a negative in the right order."""
    positive, negative = given[truth == 1].astype(float), given[truth == 0].astype(float)
    order = np.sign(positive[:, None] - negative[None, :])
    return float((order.mean() + 1) / 2)


def _log_loss(truth: Array, given: Array) -> float:
    chance = np.clip(given.astype(float), SMALLEST, 1 - SMALLEST)
    return float(-np.mean(np.log(np.where(truth == 1, chance, 1 - chance))))


def _multiclass_loss(truth: Array, given: Array) -> float:
    chance = np.clip(given.astype(float), SMALLEST, 1 - SMALLEST)
    chance /= chance.sum(axis=1, keepdims=True)
    return float(-np.mean((truth * np.log(chance)).sum(axis=1)))


def _accuracy(truth: Array, given: Array) -> float:
    return float(np.mean(truth == given))


def _rmse(truth: Array, given: Array) -> float:
    return float(np.sqrt(np.mean((truth - given) ** 2)))


def _mae(truth: Array, given: Array) -> float:
    return float(np.mean(np.abs(truth - given)))


def _rmsle(truth: Array, given: Array) -> float:
    return _rmse(np.log1p(truth.astype(float)), np.log1p(given.astype(float)))


def _f1(truth: Array, given: Array) -> float:
    """Twice the hits over all that is or is called positive."""
    hits = np.sum((truth == 1) & (given == 1))
    called = np.sum(truth == 1) + np.sum(given == 1)
    return float(2 * hits / called) if called else 0.0


def _macro_f1(truth: Array, given: Array) -> float:
    labels = np.unique(np.concatenate([truth.ravel(), given.ravel()]))
    return float(np.mean([_f1(truth == label, given == label) for label in labels]))


def _quadratic_kappa(truth: Array, given: Array) -> float:
    """One minus the squared distances seen over those of independent pairs."""
    one, other = truth.ravel().astype(float), given.ravel().astype(float)
    chance = np.mean((one[:, None] - other[None, :]) ** 2)
    return float(1 - np.mean((one - other) ** 2) / chance)


def _matthews(truth: Array, given: Array) -> float:
    one, other = truth.ravel().astype(float), given.ravel().astype(float)
    spread = one.std() * other.std()
    return float(np.mean((one - one.mean()) * (other - other.mean())) / spread) if spread else 0.0


def _spearman(truth: Array, given: Array) -> float:
    ranks = [pd.Series(values.ravel()).rank().to_numpy() for values in (truth, given)]
    return _matthews(*ranks)


def _r2(truth: Array, given: Array) -> float:
    return float(1 - np.sum((truth - given) ** 2) / np.sum((truth - truth.mean()) ** 2))


def _smape(truth: Array, given: Array) -> float:
    """In percent; a row whose truth and prediction are both 0 counts as right."""
    size = np.abs(truth) + np.abs(given)
    some = size != 0
    return float(200 * np.sum(np.abs(truth - given)[some] / size[some]) / truth.size)


def _rmspe(truth: Array, given: Array) -> float:
    """Relative errors, over the rows whose truth is not 0."""
    some = truth != 0
    return float(np.sqrt(np.mean(((truth[some] - given[some]) / truth[some]) ** 2)))


def _median_error(truth: Array, given: Array) -> float:
    return float(np.median(np.abs(truth - given)))


FORMULAS: dict[str, Formula] = {
    "Area Under Receiver Operating Characteristic Curve": _auc,
    "Roc Auc Score": _auc,
    "Mean Columnwise Area Under Receiver Operating Characteristic Curve": _columnwise(_auc),
    "Log Loss": _log_loss,
    "Multiclass Loss": _multiclass_loss,
    "Categorization Accuracy": _accuracy,
    "Accuracy Score": _accuracy,
    "Root Mean Squared Error": _rmse,
    "Mean Squared Error": _rmse,
    "Mean Columnwise Root Mean Squared Error": _columnwise(_rmse),
    "Mean Absolute Error": _mae,
    "Median Absolute Error": _median_error,
    "Root Mean Squared Logarithmic Error": _rmsle,
    "Mean Squared Log Error": _rmsle,
    "Mean Columnwise Root Mean Squared Logarithmic Error": _columnwise(_rmsle),
    "F-Score (Macro)": _macro_f1,
    "F1 Score": _f1,
    "QuadraticWeightedKappa": _quadratic_kappa,
    "Cohen Kappa Score": _quadratic_kappa,
    "Matthews correlation coefficient": _matthews,
    "PearsonCorrelationCoefficient": _matthews,
    "SpearmanR": _spearman,
    "R2 Score": _r2,
    "R^2 score (coefficient of determination)": _r2,
    "SMAPE": _smape,
    "Root Mean Square Percentage Error": _rmspe,
}
