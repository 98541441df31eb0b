"""Which episodes are imitated, by hand, and what an update makes of them as a command."""

import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from made_up import ACTED, OBSERVED, episode, spoken, turn
from test_bad_input import settings as smoke_settings

from agent.core.model_folder import model_digest
from agent.core.records import Trajectory
from agent.core.trajectories import write_trajectories
from agent.training.rejection_sampling import RFTSettings, keep_best, supervised_batch

SETTINGS = RFTSettings(best_per_competition=2, minimum_position=0.5, learning_rate=1e-3, epochs=1)


def play(competition: str, number: int, *positions: float | None, said: str = "") -> Trajectory:
    """An episode whose every action has a text of its own, unless it is given."""
    turns = [
        turn(position, text=said or f"{competition} {number} {row}")
        for row, position in enumerate(positions)
    ]
    return episode(turns, competition=competition, episode=number)


def kept(*played: Trajectory) -> list[tuple[str, int, int]]:
    return [
        (one.competition, one.episode, len(one.turns)) for one in keep_best(list(played), SETTINGS)
    ]


def test_the_best_of_each_competition_are_kept_in_their_order():
    played = [
        play("a", 0, 0.6),
        play("a", 1, 0.9),
        play("b", 2, 0.5),
        play("a", 3, 0.7),
        play("b", 4, 0.49),
    ]
    assert kept(*played) == [("a", 1, 1), ("b", 2, 1), ("a", 3, 1)]


def test_an_episode_ends_with_its_best_submission():
    played = [
        play("a", 0, 0.6, 0.9, 0.9),
        play("a", 1, 0.8, None),
        play("b", 2, None, 0.7, 0.6),
    ]
    assert kept(*played) == [("a", 0, 2), ("a", 1, 1), ("b", 2, 2)]
    for one in keep_best(played, SETTINGS):
        assert len(one.token_ids) == len(one.logprobs) == len(one.turns) * (OBSERVED + ACTED)
        assert one.action_mask[-1] == 1 and one.action_mask.sum() == ACTED * len(one.turns)


def test_equal_actions_are_kept_once_and_equal_scores_in_order():
    same = [play("a", number, 0.8, said="same") for number in range(3)]
    assert kept(*same, play("a", 3, 0.6), play("a", 4, 0.6)) == [("a", 0, 1), ("a", 3, 1)]
    assert kept(same[0], play("b", 1, 0.8, said="same")) == [("a", 0, 1), ("b", 1, 1)]


positions = st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=3)


@given(st.lists(st.tuples(st.sampled_from("abc"), positions), min_size=1, max_size=12))
def test_nothing_left_out_is_better_than_what_is_kept(rows):
    played = [play(name, number, *own) for number, (name, own) in enumerate(rows)]
    best = [max((p for p in own if p is not None), default=-1.0) for _, own in rows]
    good = [number for number, score in enumerate(best) if score >= 0.5]
    if not good:
        with pytest.raises(ValueError, match=r"rft\.minimum_position 0\.5: no episode reached it"):
            keep_best(played, SETTINGS)
        return
    chosen = {one.episode for one in keep_best(played, SETTINGS)}
    for name in "abc":
        mine = [number for number in good if rows[number][0] == name]
        taken = chosen.intersection(mine)
        assert len(taken) == min(2, len(mine))
        left = [best[number] for number in mine if number not in taken]
        assert not left or min(best[number] for number in taken) >= max(left)
    assert chosen <= set(good)


def test_without_a_threshold_an_invalid_submission_still_does_not_pass():
    lowest = RFTSettings(2, 0.0, 1e-3, 1)
    played = [play("a", 0, None), play("a", 1, 0.0)]
    assert [one.episode for one in keep_best(played, lowest)] == [1]
    with pytest.raises(ValueError, match=r"no episode reached it, the best 0\.000: lower it"):
        keep_best(played[:1], lowest)


def test_a_policy_that_speaks_text_cannot_be_trained():
    with pytest.raises(ValueError, match="only episodes of a token-level policy"):
        supervised_batch([spoken([turn(0.5)])])


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8, "targets": ["q_proj", "v_proj"]}])
def test_the_command_trains_on_what_it_keeps_and_resumes_nothing(
    tmp_path: Path, tiny_model: Path, lora: dict[str, Any] | None
) -> None:
    """Twice from the same start: the same bytes. Then the next iteration, from what it wrote."""
    config = smoke_settings()
    config["update"]["lora"] = lora
    ids, policy = np.arange(10, dtype=np.int32), model_digest(tiny_model)
    played = [
        episode(
            [turn(score, text=f"{number}")], policy=policy, token_ids=ids + number, episode=number
        )
        for number, score in enumerate([0.9, 0.1, 0.6])
    ]
    write_trajectories(tmp_path / "shards/shard0.parquet", played, {})
    command = runpy.run_path(str(ROOT / "scripts/train_rl.py"))

    def update(model: Path, shards: Path, output: Path, *more: str) -> dict[str, float | None]:
        options = {"--trajectories-dir": shards, "--base-model": model, "--output-dir": output}
        words = [word for option in options.items() for word in map(str, option)]
        words += ["--config", json.dumps(config), "--method", "rft", *more]
        command["main"](tyro.cli(command["Arguments"], args=words))
        metrics: dict[str, float | None] = json.loads((output / "metrics.json").read_text())
        return metrics

    first, again = (update(tiny_model, tmp_path / "shards", tmp_path / name) for name in "ab")
    assert first == again and first["kept_episodes"] == 2
    assert first["sampled_tokens"] == 3 * ACTED and first["action_tokens"] == 2 * ACTED
    assert first["approx_kl"] is None and first["log_likelihood_after"] > first["log_likelihood"]
    assert model_digest(tmp_path / "a/model") == model_digest(tmp_path / "b/model")
    with pytest.raises(
        ValueError, match="rft resumes nothing: give the checkpoint as --base-model"
    ):
        update(tiny_model, tmp_path / "shards", tmp_path / "c", "--previous", str(tiny_model))
    digest = model_digest(tmp_path / "a/model")
    later = [replace(each, policy=digest, iteration=2) for each in played]
    write_trajectories(tmp_path / "later/shard0.parquet", later, {})
    second = update(tmp_path / "a", tmp_path / "later", tmp_path / "second", "--iteration", "2")
    assert second["log_likelihood"] == pytest.approx(first["log_likelihood_after"])
    third = update(tmp_path / "a", tmp_path / "later", tmp_path / "third", "--method", "ppo")
    assert third["reference_kl"] == 0 and third["value_loss"] is not None
    assert model_digest(tmp_path / "third/model") != digest
