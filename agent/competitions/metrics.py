"""The metrics of the embedded competitions: what a submission must look like, and its score."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from agent.core.competition import InvalidSubmissionError

Prediction = Literal["label", "probability", "probabilities", "value", "non_negative", "positive"]

# scikit-learn is imported where it scores: a second that preparing a competition need not spend.


@dataclass(frozen=True, slots=True)
class SubmissionMetric:
    """A metric over `id,target` (or `id,p0..pK-1`) submissions; implements `Metric`.

    Answers are `id,target`; class labels are 0..K-1 and every class occurs among the answers.
    """

    name: str
    title: str
    higher_is_better: bool
    prediction: Prediction
    score: Callable[[np.ndarray, np.ndarray], float]  # (answers, predictions) -> value

    def validate(self, submission: pd.DataFrame, answers: pd.DataFrame) -> None:
        expected = ["id", *self.columns(_classes(answers))]
        if list(submission.columns) != expected:
            raise InvalidSubmissionError(f"wrong columns: expected {','.join(expected)}")
        _check_ids(submission["id"], answers["id"])
        for column in expected[1:]:
            _check_values(submission[column], self.prediction, _classes(answers))
        if self.prediction == "probabilities" and (submission[expected[1:]].sum(axis=1) == 0).any():
            raise InvalidSubmissionError("wrong values: probabilities of a row are all zero")

    def evaluate(self, answers: pd.DataFrame, submission: pd.DataFrame) -> float:
        aligned = submission.set_index("id").loc[answers["id"]].to_numpy(dtype=float)
        if self.prediction == "probabilities":
            predictions = aligned / aligned.sum(axis=1, keepdims=True)
        else:
            predictions = aligned[:, 0]
        return float(self.score(answers["target"].to_numpy(), predictions))

    def columns(self, classes: int) -> list[str]:
        """The submission's columns after `id`."""
        if self.prediction == "probabilities":
            return [f"p{label}" for label in range(classes)]
        return ["target"]


def _classes(answers: pd.DataFrame) -> int:
    return int(answers["target"].max()) + 1


def _check_ids(ids: pd.Series, wanted: pd.Series) -> None:
    if ids.duplicated().any():
        raise InvalidSubmissionError(f"wrong ids: {ids[ids.duplicated()].iloc[0]} is given twice")
    missing = ~wanted.isin(ids)
    if missing.any():
        raise InvalidSubmissionError(f"wrong ids: {wanted[missing].iloc[0]} is missing")
    unknown = ~ids.isin(wanted)
    if unknown.any():
        raise InvalidSubmissionError(f"wrong ids: {ids[unknown].iloc[0]} is not in test.csv")


def _check_values(values: pd.Series, prediction: Prediction, classes: int) -> None:
    if values.dtype.kind not in "biuf":
        raise InvalidSubmissionError(f"wrong values: {values.name} is not numeric")
    numbers = values.to_numpy(dtype=float)
    if not np.isfinite(numbers).all():
        raise InvalidSubmissionError(f"wrong values: {values.name} has missing or infinite values")
    if prediction == "label" and not np.isin(numbers, np.arange(classes)).all():
        raise InvalidSubmissionError(f"wrong values: labels must be 0 to {classes - 1}")
    if prediction in ("probability", "probabilities") and ((numbers < 0) | (numbers > 1)).any():
        raise InvalidSubmissionError("wrong values: probabilities must be between 0 and 1")
    if prediction == "non_negative" and (numbers < 0).any():
        raise InvalidSubmissionError("wrong values: predictions must not be negative")
    if prediction == "positive" and (numbers <= 0).any():
        raise InvalidSubmissionError("wrong values: predictions must be above zero")


def _auc(answers: np.ndarray, predictions: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return roc_auc_score(answers, predictions)


def _macro_f1(answers: np.ndarray, predictions: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return f1_score(answers, predictions, average="macro", zero_division=0)


def _log_loss(answers: np.ndarray, predictions: np.ndarray) -> float:
    from sklearn.metrics import log_loss

    return log_loss(answers, predictions, labels=np.arange(predictions.shape[1]))


def _accuracy(answers: np.ndarray, predictions: np.ndarray) -> float:
    from sklearn.metrics import accuracy_score

    return accuracy_score(answers, predictions)


def _mae(answers: np.ndarray, predictions: np.ndarray) -> float:
    from sklearn.metrics import mean_absolute_error

    return mean_absolute_error(answers, predictions)


def _rmse(answers: np.ndarray, predictions: np.ndarray) -> float:
    from sklearn.metrics import root_mean_squared_error

    return root_mean_squared_error(answers, predictions)


def _rmsle(answers: np.ndarray, predictions: np.ndarray) -> float:
    from sklearn.metrics import root_mean_squared_log_error

    return root_mean_squared_log_error(answers, predictions)


def _poisson_deviance(answers: np.ndarray, predictions: np.ndarray) -> float:
    from sklearn.metrics import mean_poisson_deviance

    return mean_poisson_deviance(answers, predictions)


METRICS: dict[str, SubmissionMetric] = {
    metric.name: metric
    for metric in (
        SubmissionMetric("auc", "area under the ROC curve", True, "probability", _auc),
        SubmissionMetric("macro_f1", "macro-averaged F1", True, "label", _macro_f1),
        SubmissionMetric("log_loss", "log loss", False, "probabilities", _log_loss),
        SubmissionMetric("accuracy", "accuracy", True, "label", _accuracy),
        SubmissionMetric("mae", "mean absolute error", False, "value", _mae),
        SubmissionMetric("rmse", "root mean squared error", False, "value", _rmse),
        SubmissionMetric(
            "rmsle", "root mean squared logarithmic error", False, "non_negative", _rmsle
        ),
        SubmissionMetric(
            "poisson_deviance", "mean Poisson deviance", False, "positive", _poisson_deviance
        ),
    )
}
