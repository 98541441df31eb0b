"""Yardsticks against the definitions they shorten."""

import itertools
import runpy

import numpy as np
import pandas as pd
import pytest
from conftest import PLAYED, ROOT
from hypothesis import given
from hypothesis import strategies as st

from agent.competitions.metrics import METRICS
from agent.competitions.suite import find_entry
from agent.core.position import position_score
from agent.evaluation.yardsticks import (
    DUMMIES,
    best_of_n,
    choose_portfolio,
    pool_positions,
    pool_scores,
    portfolio_score,
    training_matrix,
)

values = st.floats(-100, 100) | st.sampled_from([0.0, 1.0])


def board_of(feedback: list[float], final: list[float]) -> pd.DataFrame:
    names = [f"pipeline{number}" for number in range(len(feedback))]
    return pd.DataFrame({"pipeline": names, "feedback": feedback, "final": final})


@given(st.lists(st.tuples(values, values), min_size=1, max_size=20), st.booleans())
def test_positions_in_the_pool_are_position_scores(rows, higher_is_better):
    board = board_of(*map(list, zip(*rows, strict=True)))
    positions = pool_positions(board, higher_is_better)
    for half in ("feedback", "final"):
        entries = board[half].to_numpy()
        expected = [position_score(score, entries, higher_is_better) for score in entries]
        np.testing.assert_allclose(positions[half], expected, atol=1e-12)


@pytest.mark.parametrize("name", PLAYED)
def test_positions_in_a_shipped_pool_are_those_a_submission_would_get(competitions, name):
    higher_is_better = METRICS[find_entry(name).metric].higher_is_better
    board = pd.read_csv(ROOT / f"config/leaderboards/{name}.csv")
    positions = pool_positions(board, higher_is_better)
    entries = competitions[name].leaderboards[0]
    for _, row in board.iloc[::20].iterrows():
        expected = position_score(row["feedback"], entries, higher_is_better)
        assert positions.loc[row["pipeline"], "feedback"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", PLAYED)
def test_the_dummy_is_in_every_pool_and_weak(name):
    entry = find_entry(name)
    board = pd.read_csv(ROOT / f"config/leaderboards/{name}.csv")
    positions = pool_positions(board, METRICS[entry.metric].higher_is_better)
    assert positions.loc[DUMMIES[entry.task_type], "final"] < 0.5


def matrix_of(table: np.ndarray) -> tuple[pd.DataFrame, dict[str, str]]:
    """Every competition with a data set of its own."""
    names = [f"competition{column}" for column in range(table.shape[1])]
    index = [f"pipeline{row}" for row in range(len(table))]
    return pd.DataFrame(table, index=index, columns=names), dict(zip(names, names, strict=True))


def mean_of_best(matrix: pd.DataFrame, chosen: list[str]) -> float:
    return float(matrix.loc[chosen].max(axis=0).mean())


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_each_choice_is_the_best_that_can_be_added(seed, size):
    matrix, data_sets = matrix_of(np.random.default_rng(seed).random((6, 4)))
    chosen = choose_portfolio(matrix, data_sets, size)
    assert len(chosen) == size
    for count in range(1, size + 1):
        options = [mean_of_best(matrix, [*chosen[: count - 1], name]) for name in matrix.index]
        assert mean_of_best(matrix, chosen[:count]) == pytest.approx(max(options))


@given(st.integers(0, 10_000))
def test_two_choices_are_nearly_as_good_as_the_best_pair(seed):
    """Greedy maximisation of a submodular function reaches 1 - 1/e of the optimum."""
    matrix, data_sets = matrix_of(np.random.default_rng(seed).random((6, 4)))
    best = max(mean_of_best(matrix, list(pair)) for pair in itertools.combinations(matrix.index, 2))
    chosen = choose_portfolio(matrix, data_sets, 2)
    assert (1 - 1 / np.e) * best <= mean_of_best(matrix, chosen) <= best + 1e-12


def test_data_sets_count_equally_however_many_competitions_they_have():
    matrix, _ = matrix_of(np.array([[0.5, 0.5, 0.5, 0.0], [0.0, 0.0, 0.0, 0.9]]))
    same = dict.fromkeys(matrix.columns[:3], "large") | {matrix.columns[3]: "small"}
    assert choose_portfolio(matrix, same, 1) == ["pipeline1"]
    assert choose_portfolio(matrix, dict.fromkeys(matrix.columns, "large"), 1) == ["pipeline0"]


def test_a_pipeline_that_failed_somewhere_counts_as_zero_there():
    positions = {
        "a": pool_positions(board_of([1.0, 2.0], [1.0, 2.0]), True),
        "b": pool_positions(board_of([1.0], [1.0]), True),
    }
    matrix = training_matrix(positions, ["a", "b"])
    assert matrix.loc["pipeline1"].tolist() == [1.0, 0.0]
    assert matrix.loc["pipeline0"].tolist() == [0.5, 1.0]
    assert portfolio_score(positions["b"], ["pipeline1"]) == 0.0


def test_the_portfolio_selects_on_feedback_and_is_judged_on_the_final_half():
    positions = pd.DataFrame(
        {"feedback": [0.9, 0.8, 0.1], "final": [0.3, 0.7, 1.0]}, index=["a", "b", "c"]
    )
    assert portfolio_score(positions, ["b", "a", "c"]) == 0.3
    assert portfolio_score(positions, ["b", "c"]) == 0.7
    assert portfolio_score(positions, ["c", "absent"]) == 1.0


def test_fixed_choices_are_made_on_training_competitions_alone():
    task = {"data_set": ["a", "b", "c"], "task_type": "regression"}
    table = pd.DataFrame(
        {"competition": ["a", "b", "c"], "group": ["train", "train", "held_out"], **task}
    )
    dummy = DUMMIES["regression"]
    train = pd.DataFrame({"feedback": [0.1, 0.9, 0.5], "final": [0.1, 0.9, 0.5]})
    held_out = pd.DataFrame({"feedback": [0.2, 0.3, 1.0], "final": [0.2, 0.4, 1.0]})
    for positions in (train, held_out):
        positions.index = pd.Index([dummy, "good", "lucky"])
    scores = pool_scores(table, {"a": train, "b": train, "c": held_out}, 1)
    assert set(scores["competition"]) == {"c"}
    found = dict(zip(scores["policy"], scores["score"], strict=True))
    assert found == {"dummy": 0.2, "best_fixed_program": 0.4, "fixed_portfolio": 0.4}


def attempts(scores: list[float], feedback: list[float]) -> pd.DataFrame:
    table = pd.DataFrame({"first_score": scores, "first_feedback_score": feedback})
    return table.assign(executions=1, competition="wine")


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 0.2, 0.5, 0.9])] * 2), min_size=1, max_size=6))
def test_the_best_of_n_is_the_mean_over_all_sets_of_n_attempts(rows):
    """Every order of every set: of ties on feedback the attempt that came first counts."""
    scores, feedback = map(list, zip(*rows, strict=True))
    for n in range(1, len(rows) + 1):
        found = [
            scores[max(drawn, key=lambda row: feedback[row])]
            for drawn in itertools.permutations(range(len(rows)), n)
        ]
        expected = pytest.approx(np.mean(found), abs=1e-12)
        assert best_of_n(attempts(scores, feedback), n) == (expected, n)


def test_the_best_of_n_by_hand():
    """Of the pairs of a, b, c, d by feedback a is best in three of six, b in two, c in one."""
    base = attempts([0.2, 0.4, 0.9, 0.0], [0.5, 0.3, 0.1, 0.9])
    assert best_of_n(base, 2)[0] == pytest.approx((3 * 0.0 + 2 * 0.2 + 1 * 0.4) / 6, abs=1e-15)
    assert best_of_n(base, 1)[0] == pytest.approx(base["first_score"].mean(), abs=1e-15)


def test_attempts_of_all_runs_of_the_base_are_put_together(tmp_path):
    script = runpy.run_path(str(ROOT / "scripts/evaluate_yardsticks.py"))
    runs = [
        attempts([0.1, 0.3], [0.2, 0.9]).assign(competition=["wine", "iris"]),
        attempts([0.8, 0.5, 0.7], [0.5, 0.1, 0.1]).assign(competition=["wine", "iris", "iris"]),
    ]
    paths = [tmp_path / f"run{number}.csv" for number in range(len(runs))]
    for path, run in zip(paths, runs, strict=True):
        run.to_csv(path, index=False)
    rows = script["_best_of_base"](paths, ["wine", "iris"], 3).set_index("competition")
    assert rows["executions"].to_dict() == {"wine": 2, "iris": 3}
    assert rows["score"].to_dict() == pytest.approx({"wine": 0.8, "iris": 0.3})
    assert set(rows["policy"]) == {"base_best_of_n"} and set(rows["episode"]) == {0}


def test_more_attempts_than_there_are_find_what_feedback_likes_best():
    assert best_of_n(attempts([0.1, 0.3, 0.8], [0.2, 0.9, 0.5]), 60) == (0.3, 3)


def test_episodes_that_executed_nothing_are_no_attempt():
    base = attempts([0.5, 0.0], [0.5, 0.0])
    base["executions"] = [2, 0]
    assert best_of_n(base, 2) == (0.5, 1)
    with pytest.raises(ValueError, match="wine: the base never executed a program"):
        best_of_n(base[base["executions"] == 0], 1)
