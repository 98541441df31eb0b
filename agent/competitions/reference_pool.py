"""The reference pool: many real scikit-learn pipelines, whose scores are the leaderboards."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import make_pipeline
from sklearn.utils._param_validation import InvalidParameterError

from agent.competitions.metrics import METRICS, SubmissionMetric
from agent.competitions.pool_models import CLASSIFIERS, REGRESSORS, Factory
from agent.competitions.pool_steps import ChangeRegressor, TrimmedRegressor, preparations
from agent.competitions.preparation import Tables
from agent.core.competition import InvalidSubmissionError

CLASSIFIER_TREES = (
    "tree-1 tree-3 tree-6 tree forest forest-5 forest-15 forest-balanced forest-log "
    "forest-calibrated extra extra-5 extra-15 extra-all extra-half extra-balanced "
    "extra-calibrated bagged-trees boost boost-slow boost-balanced stumps boost-3 adaboost"
)
CLASSIFIER_TEAMS = "vote vote-forest vote-svm vote-balanced stack stack-balanced bagged-logistic"

# preparation -> models.
CLASSIFIER_PLAN: dict[str, str] = {
    "raw": f"prior uniform bayes logistic-1 {CLASSIFIER_TREES} vote-trees stack-trees",
    "scale": "logistic-0.01 logistic-0.1 logistic-1 logistic-balanced logistic-l1 logistic-cv lda "
    f"lda-shrunk near-5 near-15 near-40 svm-0.5 svm-3 svm-30 mlp {CLASSIFIER_TEAMS}",
    "codes": "logistic-0.1 logistic-cv svm-0.5 vote vote-forest",
    "quantiles": "bayes bayes-calibrated logistic-0.1 logistic-1 logistic-balanced logistic-cv "
    "logistic-l1 lda lda-shrunk qda svm-0.5 svm-3 near-15 near-40 mlp mlp-strict vote vote-forest "
    "vote-svm vote-balanced stack bagged-logistic",
    "slog": "logistic-0.1 logistic-1 logistic-balanced logistic-cv lda-shrunk svm-3 near-15 mlp "
    "vote vote-forest vote-svm stack",
    "clip": "logistic-0.1 logistic-1 logistic-10 logistic-balanced logistic-cv logistic-l1 lda "
    "lda-shrunk qda bayes near-15 near-40 svm-0.5 svm-3 svm-balanced mlp mlp-strict extra extra-5 "
    "forest forest-5 boost-slow vote vote-forest vote-svm vote-balanced stack stack-balanced "
    "bagged-logistic",
    "best8": "logistic-0.1 logistic-1 logistic-balanced lda lda-shrunk bayes near-15 svm-3 svm-0.5 "
    "forest forest-5 forest-balanced extra-5 boost-slow vote vote-forest stack",
    "clip best8": "logistic-0.1 logistic-balanced lda extra-5 forest-5 vote vote-forest",
    "squares": "logistic-0.1 extra-5 boost-slow",
    "changes": "logistic-1 svm-3 forest-5 extra extra-5 boost vote stack",
}

REGRESSOR_TREES = (
    "tree-1 tree-3 tree-6 tree tree-median forest forest-5 forest-15 extra extra-5 extra-root "
    "boost boost-median boost-poisson stumps boost-3 boost-huber boost-lad"
)
LINEAR_REGRESSORS = (
    "ols ridge-0.1 ridge-3 ridge-30 ridge-300 lasso elastic bayes huber huber-strict median-line "
    "svr-line poisson"
)

# (target, preparation) -> models; "change" predicts the change since lag1.
REGRESSOR_PLAN: dict[tuple[str, str], str] = {
    ("value", "raw"): f"mean median ols ridge-3 {REGRESSOR_TREES}",
    ("value", "scale"): f"{LINEAR_REGRESSORS} near-5 near-15 near-40 svr-0.3 svr-1 svr-10 mlp vote "
    "vote-robust vote-median stack bagged-huber",
    ("value", "codes"): "ridge-3 ridge-30 huber median-line lasso poisson svr-1 mlp vote stack",
    ("value", "quantiles"): "ridge-3 huber poisson svr-1 svr-10 vote vote-median stack",
    ("value", "slog"): "ols ridge-3 ridge-30 huber median-line lasso poisson tweedie svr-1 vote "
    "vote-median stack",
    ("value", "clip"): "ols ridge-3 lasso huber huber-strict median-line svr-line poisson svr-1 "
    "vote vote-robust vote-median stack bagged-huber forest-5 extra-5 boost-median",
    ("value", "best8"): "ols ridge-3 lasso huber median-line svr-1 forest-5 extra-5 vote stack "
    "vote-median",
    ("value", "squares"): "lasso huber-strict extra-5",
    ("value", "whiten"): "svr-1",
    ("log", "raw"): "forest-5 extra extra-5 boost stumps boost-median",
    ("log", "scale"): "ols ridge-3 huber median-line svr-1 mlp vote stack",
    ("log", "codes"): "huber lasso",
    ("log", "slog"): "ols ridge-3 huber median-line lasso svr-1 vote vote-median stack",
    ("log", "clip"): "ols huber vote vote-median stack",
    ("root", "raw"): "forest-5 extra-5 boost",
    ("root", "scale"): "ridge-3 vote",
    ("trim", "raw"): "forest-5 extra-5 boost boost-median stumps",
    ("trim", "scale"): "ols ridge-3 ridge-30 lasso huber near-15 svr-1 vote vote-median stack",
    ("trim", "clip"): "ols huber vote",
    ("value", "changes"): "ridge-3 lasso extra boost",
    ("change", "raw"): "no-change forest-5 extra extra-5 boost stumps boost-median",
    ("change", "scale"): "ols ridge-3 ridge-30 ridge-300 lasso huber median-line near-15 svr-1 "
    "vote vote-median stack",
    ("change", "changes"): "ridge-3 ridge-30 lasso huber median-line forest-5 extra-5 boost",
    ("change", "clip"): "ridge-3 huber vote",
}
LAGGED = ("change", "changes")  # plans that need a column lag1


def pipelines(task_type: str, lagged: bool) -> dict[str, Factory]:
    """All pipelines of one task type by name; `lagged`: the features include `lag1`."""
    if task_type == "classification":
        prepare = preparations(classification=True)
        return {
            f"{preparation}+{model}": _pipeline(prepare[preparation], CLASSIFIERS[model])
            for preparation, models in CLASSIFIER_PLAN.items()
            if lagged or preparation not in LAGGED
            for model in models.split()
        }
    prepare = preparations(classification=False)
    return {
        f"{target}:{preparation}+{model}": _retarget(
            target, _pipeline(prepare[preparation], REGRESSORS[model])
        )
        for (target, preparation), models in REGRESSOR_PLAN.items()
        if lagged or not {target, preparation} & set(LAGGED)
        for model in models.split()
    }


def _pipeline(prepare: Callable[[], list[Any]], model: Factory) -> Factory:
    return lambda: make_pipeline(*prepare(), model())


def _retarget(target: str, factory: Factory) -> Factory:
    if target == "change":
        return lambda: ChangeRegressor(factory())
    if target == "trim":
        return lambda: TrimmedRegressor(factory())
    if target == "log":
        return lambda: TransformedTargetRegressor(
            factory(), func=np.log1p, inverse_func=np.expm1, check_inverse=False
        )
    if target == "root":
        return lambda: TransformedTargetRegressor(
            factory(), func=np.sqrt, inverse_func=np.square, check_inverse=False
        )
    return factory


def predict(model: Any, features: pd.DataFrame, metric: SubmissionMetric) -> np.ndarray:
    """Predictions of the metric's kind, (rows,) or (rows, classes), within its allowed range."""
    if metric.prediction == "probability":
        return model.predict_proba(features)[:, 1]
    if metric.prediction == "probabilities":
        return model.predict_proba(features)
    predictions = model.predict(features)
    if metric.prediction == "non_negative":
        return np.clip(predictions, 0, None)
    if metric.prediction == "positive":
        return np.clip(predictions, 1e-3, None)
    return predictions


def submit(factory: Factory, tables: Tables, metric: SubmissionMetric) -> pd.DataFrame:
    """Fit one pipeline on the training table and answer the test."""
    features = tables.train.drop(columns=["id", "target"])
    model = factory().fit(features, tables.train["target"].to_numpy())
    predictions = predict(model, tables.test.drop(columns="id"), metric)
    columns = metric.columns(tables.problem.classes)
    submission = pd.DataFrame(predictions.reshape(len(tables.test), -1), columns=columns)
    submission.insert(0, "id", tables.test["id"])
    return submission


def score_pipeline(
    factory: Factory, tables: Tables, metric: SubmissionMetric
) -> tuple[float, float] | None:
    """(feedback, final) metric values; None for a pipeline that cannot answer this competition.

    Such a pipeline (too few rows for its folds, values that overflow) is left off the board.
    """
    try:
        submission = submit(factory, tables, metric)
    except InvalidParameterError:
        raise  # a ValueError too, but the pool's own mistake
    except (ValueError, np.linalg.LinAlgError):
        return None
    values = []
    for answers in (tables.feedback, tables.final):
        asked = submission[submission["id"].isin(answers["id"])]
        try:
            metric.validate(asked, answers)
        except InvalidSubmissionError:
            return None
        values.append(metric.evaluate(answers, asked))
    return values[0], values[1]


def build_leaderboard(
    tables: Tables, metric_name: str, only: tuple[str, ...] | None = None
) -> pd.DataFrame:
    """Score the pool (or the pipelines named) on both halves: pipeline, feedback, final."""
    metric = METRICS[metric_name]
    pool = pipelines(tables.problem.task_type, lagged="lag1" in tables.train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a pool needs members that do not converge, too
        scores = {
            name: score_pipeline(pool[name], tables, metric)
            for name in sorted(pool)
            if only is None or name in only
        }
    entries = [(name, *pair) for name, pair in scores.items() if pair is not None]
    return pd.DataFrame(entries, columns=["pipeline", "feedback", "final"])


def write_leaderboard(board: pd.DataFrame, path: Path) -> None:
    """Write a board atomically, sorted by pipeline."""
    partial = path.with_name(f".{path.name}.partial")
    board.to_csv(partial, index=False, float_format="%.8g", lineterminator="\n")
    partial.replace(path)
