"""Every metric against numbers worked out by hand, and every way to break the rules."""

import math

import numpy as np
import pandas as pd
import pytest

from agent.competitions.metrics import METRICS
from agent.core.competition import InvalidSubmissionError


def submission(ids: list[int], **columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"id": ids, **columns})


def evaluate(metric: str, answers: list[float], predictions: list[float]) -> float:
    ids = list(range(len(answers)))
    truth, table = submission(ids, target=answers), submission(ids, target=predictions)
    METRICS[metric].validate(table, truth)
    return METRICS[metric].evaluate(truth, table)


@pytest.mark.parametrize(
    ("metric", "answers", "predictions", "value"),
    [
        ("auc", [0, 1, 0, 1], [0.1, 0.9, 0.4, 0.3], 0.75),  # 3 of 4 pairs in order
        ("auc", [0, 1, 1], [0.5, 0.5, 0.5], 0.5),
        ("accuracy", [0, 1, 2, 2], [0, 1, 1, 2], 0.75),
        ("macro_f1", [0, 0, 1, 1], [0, 1, 1, 1], (2 / 3 + 4 / 5) / 2),
        ("macro_f1", [0, 1, 2], [0, 0, 0], (1 / 2) / 3),
        ("mae", [1.0, 2.0, -3.0], [2.0, 2.0, 0.0], 4 / 3),
        ("rmse", [0.0, 0.0], [3.0, 4.0], math.sqrt(12.5)),
        ("rmsle", [0.0, math.e - 1], [math.e - 1, 0.0], 1.0),
        ("poisson_deviance", [0.0, 2.0], [1.0, 1.0], (2 * 1 + 2 * (2 * math.log(2) - 1)) / 2),
    ],
)
def test_metric_equals_the_value_computed_by_hand(metric, answers, predictions, value):
    assert evaluate(metric, answers, predictions) == pytest.approx(value, rel=1e-12)


def test_log_loss_equals_the_value_computed_by_hand():
    truth = submission([0, 1], target=[0, 1])
    table = submission([0, 1], p0=[0.8, 0.5], p1=[0.2, 0.5])
    expected = -(math.log(0.8) + math.log(0.5)) / 2
    assert METRICS["log_loss"].evaluate(truth, table) == pytest.approx(expected, rel=1e-12)


def test_log_loss_renormalises_rows():
    truth = submission([0, 1], target=[0, 1])
    whole = submission([0, 1], p0=[0.8, 0.25], p1=[0.2, 0.75])
    halved = submission([0, 1], p0=[0.4, 0.125], p1=[0.1, 0.375])
    log_loss = METRICS["log_loss"]
    log_loss.validate(halved, truth)
    assert log_loss.evaluate(truth, halved) == pytest.approx(log_loss.evaluate(truth, whole))


def test_log_loss_of_a_certain_error_is_finite():
    truth = submission([0, 1], target=[0, 1])
    wrong = submission([0, 1], p0=[0.0, 1.0], p1=[1.0, 0.0])
    assert math.isfinite(METRICS["log_loss"].evaluate(truth, wrong))


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_order_of_rows_does_not_matter(metric):
    rng = np.random.default_rng(0)
    truth = submission(list(range(20)), target=[0, 1] * 10)
    columns = {c: rng.uniform(0.1, 0.9, 20) for c in METRICS[metric].columns(2)}
    if METRICS[metric].prediction == "label":
        columns = {"target": rng.integers(0, 2, 20)}
    table = submission(list(range(20)), **columns)
    shuffled = table.sample(frac=1, random_state=1)
    METRICS[metric].validate(shuffled, truth)
    value = METRICS[metric].evaluate(truth, shuffled)
    assert type(value) is float
    assert value == pytest.approx(METRICS[metric].evaluate(truth, table), rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "better", "worse"),
    [
        ("auc", [0.1, 0.9], [0.9, 0.1]),
        ("macro_f1", [0, 1], [1, 1]),
        ("accuracy", [0, 1], [1, 1]),
        ("mae", [0, 1], [1, 1]),
        ("rmse", [0, 1], [1, 1]),
        ("rmsle", [0, 1], [1, 1]),
        ("poisson_deviance", [0.1, 1.0], [3.0, 3.0]),
    ],
)
def test_direction_says_which_of_two_submissions_is_better(metric, better, worse):
    values = evaluate(metric, [0, 1], better), evaluate(metric, [0, 1], worse)
    assert (values[0] > values[1]) == METRICS[metric].higher_is_better


@pytest.mark.parametrize(
    ("metric", "table", "message"),
    [
        ("mae", {"id": [0, 1]}, "wrong columns: expected id,target"),
        ("mae", {"id": [0, 1], "target": [1, 1], "more": [1, 1]}, "wrong columns"),
        ("mae", {"target": [1, 1], "id": [0, 1]}, "wrong columns"),
        ("log_loss", {"id": [0, 1], "target": [1, 0]}, "wrong columns: expected id,p0,p1"),
        ("log_loss", {"id": [0, 1], "p1": [1, 0], "p0": [0, 1]}, "wrong columns"),
        ("mae", {"id": [0, 0], "target": [1, 1]}, "wrong ids: 0 is given twice"),
        ("mae", {"id": [0], "target": [1]}, "wrong ids: 1 is missing"),
        ("mae", {"id": [0, 1, 7], "target": [1, 1, 1]}, "wrong ids: 7 is not in test.csv"),
        ("mae", {"id": ["0", "1"], "target": [1, 1]}, "wrong ids"),
        ("mae", {"id": [0, None], "target": [1, 1]}, "wrong ids"),
        ("mae", {"id": [0, 1], "target": [1, np.nan]}, "wrong values: target has missing"),
        ("mae", {"id": [0, 1], "target": [1, np.inf]}, "wrong values"),
        ("rmse", {"id": [0, 1], "target": [1, -np.inf]}, "wrong values"),
        ("mae", {"id": [0, 1], "target": ["a", "b"]}, "wrong values: target is not numeric"),
        ("mae", {"id": [0, 1], "target": [1j, 2j]}, "wrong values: target is not numeric"),
        ("auc", {"id": [0, 1], "target": [0.5, 1.5]}, "wrong values: probabilities"),
        ("auc", {"id": [0, 1], "target": [-0.5, 0.5]}, "wrong values: probabilities"),
        ("log_loss", {"id": [0, 1], "p0": [0, 0.5], "p1": [0, 0.5]}, "wrong values: prob"),
        ("log_loss", {"id": [0, 1], "p0": [2, 0.5], "p1": [0, 0.5]}, "wrong values: prob"),
        ("log_loss", {"id": [0, 1], "p0": [np.nan, 0], "p1": [0, 1]}, "wrong values: p0"),
        ("macro_f1", {"id": [0, 1], "target": [0, 2]}, "wrong values: labels must be 0 to 1"),
        ("accuracy", {"id": [0, 1], "target": [0, 0.5]}, "wrong values: labels"),
        ("rmsle", {"id": [0, 1], "target": [0, -1e-9]}, "wrong values: .* not be negative"),
        ("poisson_deviance", {"id": [0, 1], "target": [0, 1]}, "wrong values: .* above zero"),
    ],
)
def test_broken_submissions_are_refused_in_words(metric, table, message):
    with pytest.raises(InvalidSubmissionError, match=f"^{message}"):
        METRICS[metric].validate(pd.DataFrame(table), submission([0, 1], target=[0, 1]))


def test_boolean_labels_count_as_numbers():
    table = pd.DataFrame({"id": [0, 1], "target": [False, True]})
    METRICS["macro_f1"].validate(table, submission([0, 1], target=[0, 1]))
    assert METRICS["macro_f1"].evaluate(submission([0, 1], target=[0, 1]), table) == 1.0


def test_duplicated_column_names_are_refused():
    table = pd.DataFrame([[0, 1, 1], [1, 0, 0]], columns=["id", "target", "target"])
    with pytest.raises(InvalidSubmissionError, match=r"^wrong columns"):
        METRICS["mae"].validate(table, submission([0, 1], target=[0, 1]))
