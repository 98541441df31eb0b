"""The reference pool: enough real pipelines, reproducible, and honest about failures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor

from agent.competitions.metrics import METRICS
from agent.competitions.pool_steps import (
    ChangeRegressor,
    QuantileClipper,
    TrimmedRegressor,
    changes_since_lag1,
    coded_columns,
    signed_log,
)
from agent.competitions.preparation import assemble
from agent.competitions.reference_pool import (
    build_leaderboard,
    pipelines,
    predict,
    score_pipeline,
    submit,
    write_leaderboard,
)
from agent.competitions.suite import SUITE, Entry

LEADERBOARDS = Path(__file__).parent.parent / "config/leaderboards"
REBUILT = {
    "wine-log-loss-irrelevant-columns": (
        "raw+prior raw+bayes raw+tree-3 scale+logistic-0.1 scale+lda-shrunk scale+near-15 "
        "scale+svm-3 codes+logistic-0.1 quantiles+lda slog+logistic-1 clip+lda raw+extra-5"
    ),
    "sunspots-mae-unit-errors": (
        "value:raw+median value:raw+tree-3 value:scale+ridge-3 value:scale+huber "
        "value:scale+median-line value:scale+svr-1 value:clip+ols value:changes+ridge-3 "
        "change:raw+no-change change:scale+lasso log:scale+ridge-3 trim:scale+ols"
    ),
}


@pytest.mark.parametrize("lagged", [False, True])
@pytest.mark.parametrize("task_type", ["classification", "regression"])
def test_every_kind_of_competition_has_at_least_130_pipelines(task_type, lagged):
    assert len(pipelines(task_type, lagged)) >= 130


@pytest.mark.parametrize("name", sorted(SUITE))
def test_leaderboards_hold_finite_scores_of_known_pipelines(name):
    board = pd.read_csv(LEADERBOARDS / f"{name}.csv")
    entry = SUITE[name]
    assert list(board.columns) == ["pipeline", "feedback", "final"]
    assert board["pipeline"].is_monotonic_increasing and board["pipeline"].is_unique
    assert np.isfinite(board[["feedback", "final"]]).all(axis=None)
    assert set(board["pipeline"]) <= set(pipelines(entry.task_type, lagged=True))
    assert len(board) >= 130


@pytest.mark.parametrize("name", sorted(SUITE))
def test_both_halves_rank_the_pool_alike(name):
    board = pd.read_csv(LEADERBOARDS / f"{name}.csv")
    assert board["feedback"].corr(board["final"], method="spearman") >= 0.6


@pytest.mark.parametrize("name", sorted(REBUILT))
def test_a_rebuilt_sample_equals_the_shipped_leaderboard(name):
    entry, only = SUITE[name], tuple(REBUILT[name].split())
    board = build_leaderboard(assemble(entry), entry.metric, only).set_index("pipeline")
    shipped = pd.read_csv(LEADERBOARDS / f"{name}.csv", index_col="pipeline").loc[board.index]
    assert sorted(board.index) == sorted(only)
    np.testing.assert_allclose(board, shipped, rtol=1e-6)


def test_a_pipeline_that_cannot_answer_is_left_off():
    few = assemble(Entry("star-rate", "rmse", "few-rows"))
    pool = pipelines("regression", lagged=False)
    assert score_pipeline(pool["value:scale+near-40"], few, METRICS["rmse"]) is None
    assert score_pipeline(pool["value:scale+near-5"], few, METRICS["rmse"]) is not None
    board = build_leaderboard(few, "rmse", ("value:scale+near-40", "value:scale+near-5"))
    assert board["pipeline"].tolist() == ["value:scale+near-5"]


def test_a_wrongly_written_pipeline_is_our_error_and_not_left_off():
    tables = assemble(Entry("engel", "mae", "outliers"))
    with pytest.raises(ValueError, match="strategy"):
        score_pipeline(lambda: DummyRegressor(strategy="nonsense"), tables, METRICS["mae"])


def test_submissions_have_the_kind_the_metric_asks_for():
    tables = assemble(Entry("wine", "log_loss", "irrelevant-columns"))
    model = pipelines("classification", False)["raw+tree-3"]
    table = submit(model, tables, METRICS["log_loss"])
    assert list(table.columns) == ["id", "p0", "p1", "p2"]
    np.testing.assert_allclose(table[["p0", "p1", "p2"]].sum(axis=1), 1)
    labels = submit(model, tables, METRICS["macro_f1"])
    assert set(labels["target"]) <= {0, 1, 2}


def test_predictions_are_clipped_where_the_metric_needs_it():
    features = pd.DataFrame({"x": [0.0, 1.0]})
    model = DummyRegressor(strategy="constant", constant=-5.0).fit(features, [1, 2])
    assert predict(model, features, METRICS["mae"]).tolist() == [-5, -5]
    assert predict(model, features, METRICS["rmsle"]).tolist() == [0, 0]
    assert (predict(model, features, METRICS["poisson_deviance"]) > 0).all()


def test_change_is_added_back_to_the_latest_value():
    features = pd.DataFrame({"lag1": [3.0, 5.0, 9.0], "lag3": [1.0, 2.0, 4.0]})
    model = ChangeRegressor(DummyRegressor()).fit(features, np.array([4.0, 7.0, 12.0]))
    assert model.predict(features).tolist() == [5.0, 7.0, 11.0]  # the mean change is 2
    assert changes_since_lag1(features)["lag3"].tolist() == [-2.0, -3.0, -5.0]


def test_trimming_forgets_the_largest_targets():
    features = pd.DataFrame({"x": range(100)})
    target = np.r_[np.full(90, 1.0), np.full(10, 1000.0)]
    model = TrimmedRegressor(DummyRegressor()).fit(features, target)
    assert model.predict(features)[0] == 1.0


def test_clipping_uses_the_training_quantiles_alone():
    clipper = QuantileClipper().fit(pd.DataFrame({"x": np.arange(101.0)}))
    assert clipper.transform(pd.DataFrame({"x": [-9.0, 50.0, 9999.0]})).ravel().tolist() == [
        5.0,
        50.0,
        95.0,
    ]


def test_codes_are_integers_with_few_levels():
    table = pd.DataFrame({"code": [1, 2, 3, 1], "flag": [0, 1, 0, 1], "size": [0.5, 1, 2, 3]})
    assert coded_columns(table) == ["code"]


def test_signed_log_is_odd_and_keeps_zero():
    values = np.array([-10.0, 0.0, 10.0])
    assert signed_log(values).tolist() == pytest.approx([-np.log(11), 0, np.log(11)])


def test_a_leaderboard_is_written_sorted_and_rounded(tmp_path):
    board = pd.DataFrame({"pipeline": ["a"], "feedback": [1 / 3], "final": [2.0]})
    write_leaderboard(board, tmp_path / "board.csv")
    assert (tmp_path / "board.csv").read_bytes() == b"pipeline,feedback,final\na,0.33333333,2\n"
    assert [path.name for path in tmp_path.iterdir()] == ["board.csv"]
