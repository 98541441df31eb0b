"""How often competitions are played: weights by hand, and draws that follow them."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tyro
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from made_up import episode, turn

from agent.core.records import Trajectory
from agent.core.trajectories import write_trajectories
from agent.training.curriculum import (
    category_weights,
    draw_competitions,
    learnability_weights,
    read_weights,
)


def play(**scores: list[float | None]) -> list[Trajectory]:
    """One episode of one turn per score; None is a program that failed."""
    return [
        episode([turn(score)], competition=name) for name, own in scores.items() for score in own
    ]


def weights_of(table: pd.DataFrame) -> list[float]:
    return table["weight"].tolist()


def test_categories_share_equally_whatever_their_size():
    table = category_weights("abcd", ["text", "images", "text", "text"])
    assert weights_of(table) == pytest.approx([1 / 6, 1 / 2, 1 / 6, 1 / 6])


def test_learnability_by_hand():
    """Successes and failures: unbiased variances 1/3, 1/4 and 0 of 4 episodes each."""
    played = play(half=[1, 1, None, None], rare=[1, 0, 0, 0], always=[1, 1, 1, 1])
    table = learnability_weights(["half", "rare", "always"], played)
    assert table["variance"].tolist() == pytest.approx([1 / 3, 1 / 4, 0.0])
    assert table["episodes"].tolist() == [4, 4, 4]
    assert weights_of(table) == pytest.approx([1 / 6 + 2 / 7, 1 / 6 + 3 / 14, 1 / 6])


@given(st.lists(st.booleans(), min_size=2, max_size=20))
def test_the_variance_of_successes_is_p_times_one_minus_p(successes):
    p, n = np.mean(successes), len(successes)
    table = learnability_weights(["a"], play(a=[float(success) for success in successes]))
    assert table["variance"][0] == pytest.approx(p * (1 - p) * n / (n - 1))


def test_an_episode_counts_with_its_best_submission():
    twice = episode([turn(0.5), turn(0.25), turn(None, "crashed")], competition="a")
    table = learnability_weights(["a"], [twice, *play(a=[1.0])])
    assert table["mean_score"][0] == 0.75


def test_what_is_unknown_counts_as_average_and_nothing_known_as_uniform():
    names = ["varied", "steady", "new", "once"]
    table = learnability_weights(names, play(varied=[0, 1], steady=[0.4, 0.4], once=[0.9]))
    assert table["episodes"].tolist() == [2, 2, 0, 1]
    assert weights_of(table) == pytest.approx([1 / 8 + 1 / 4, 1 / 8, 1 / 8 + 1 / 8, 1 / 8 + 1 / 8])
    for played in ([], play(a=[1, 1], b=[0, 0])):
        assert weights_of(learnability_weights("ab", played)) == [0.5, 0.5]


shares = st.lists(st.floats(0.01, 1), min_size=1, max_size=60)


@given(shares, st.integers(0, 10**6), st.integers(0, 99))
def test_any_stretch_of_episodes_follows_the_weights(given_weights, first, seed):
    episodes = 200
    drawn = draw_competitions(given_weights, episodes, first, seed)
    expected = episodes * np.array(given_weights) / np.sum(given_weights)
    counts = np.bincount(drawn, minlength=len(given_weights))
    assert np.abs(counts - expected).max() < 4  # independent draws would stray by 20


@given(shares, st.integers(0, 99), st.integers(1, 50), st.integers(1, 50))
def test_shards_together_draw_what_one_would(given_weights, seed, left, right):
    whole = draw_competitions(given_weights, left + right, 7, seed)
    parts = (
        draw_competitions(given_weights, left, 7, seed),
        draw_competitions(given_weights, right, 7 + left, seed),
    )
    assert np.array_equal(np.concatenate(parts), whole)


def test_runs_draw_apart():
    drawn = {tuple(draw_competitions([1, 2, 3], 20, 0, seed)) for seed in range(5)}
    assert len(drawn) == 5


def test_the_script_writes_what_playing_reads(tmp_path: Path):
    shard, table = tmp_path / "shard0.parquet", tmp_path / "weights.tsv"
    write_trajectories(shard, play(a=[0.1, 0.9], b=[0.5, 0.5]), {})
    weigh = runpy.run_path(str(ROOT / "scripts/weigh_competitions.py"))

    def run(*words: str) -> list[float]:
        arguments = ["--competitions", "a", "b", "--output", str(table), *words]
        weigh["main"](tyro.cli(weigh["Arguments"], args=arguments))
        return read_weights(table, ["b", "a"])

    assert run("--by", "learnability", "--trajectories", str(shard)) == [0.25, 0.75]
    assert run("--by", "category", "--categories", "x y", "z") == [0.5, 0.5]
    with pytest.raises(ValueError, match="1 for 2 competitions: give one for each"):
        run("--by", "category", "--categories", "x")
    with pytest.raises(ValueError, match=r"weights\.tsv: no weight for c: weigh the"):
        read_weights(table, ["c"])
