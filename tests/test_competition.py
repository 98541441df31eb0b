"""The position score against its definition, and its properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.position import position_score

values = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 0.5, 1.0])  # ties are frequent
boards = st.lists(values, min_size=1, max_size=30)


def board_of(entries: list[float], higher_is_better: bool) -> np.ndarray:
    return np.array(sorted(entries, reverse=higher_is_better))


@given(boards, values, st.booleans())
def test_it_is_mle_dojos_formula(entries, score, higher_is_better):
    board = board_of(entries, higher_is_better)
    position = 1
    for entry in board:
        if (entry > score) if higher_is_better else (entry < score):
            position += 1
    expected = (len(board) - position + 1) / len(board)
    assert position_score(score, board, higher_is_better) == pytest.approx(expected, abs=1e-12)


@given(boards, values, values, st.booleans())
def test_a_better_score_never_has_a_worse_position(entries, one, two, higher_is_better):
    board = board_of(entries, higher_is_better)
    worse, better = sorted([one, two], reverse=not higher_is_better)
    low, high = (position_score(s, board, higher_is_better) for s in (worse, better))
    assert 0 <= low <= high <= 1


@given(boards, st.booleans())
def test_the_best_entry_has_one_and_the_worst_never_zero(entries, higher_is_better):
    board = board_of(entries, higher_is_better)
    assert position_score(board[0], board, higher_is_better) == 1.0
    assert position_score(board[-1], board, higher_is_better) >= 1 / len(board)


@given(boards, values, st.booleans())
def test_turning_the_scale_around_changes_nothing(entries, score, higher_is_better):
    board = board_of(entries, higher_is_better)
    turned = position_score(-score, -board, not higher_is_better)
    assert turned == position_score(score, board, higher_is_better)


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_worse_than_every_entry_is_zero(higher_is_better):
    score = -1.0 if higher_is_better else 3.0
    assert position_score(score, np.array([0.0, 1.0, 2.0]), higher_is_better) == 0.0


def test_ties_share_the_best_place():
    assert position_score(0.5, np.array([0.9, 0.5, 0.5, 0.1]), True) == 0.75


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_never_ranked(score):
    with pytest.raises(ValueError, match="cannot be ranked: reject the submission first"):
        position_score(score, np.array([1.0]), True)


def test_an_empty_leaderboard_is_an_error():
    with pytest.raises(ValueError, match="leaderboard is empty"):
        position_score(1.0, np.array([]), True)
