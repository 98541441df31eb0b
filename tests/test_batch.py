"""From shards to the batch of an update: nothing lost, nothing mixed, order kept."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import ACTED, OBSERVED, episode, spoken, turn

from agent.core.model_folder import fetch_model, model_digest
from agent.core.trajectories import write_trajectories
from agent.training.batch import duration_weights, summary, update_batch
from agent.training.ppo import check_models, read_shards
from agent.training.rewards import RewardSettings, turn_rewards

SETTINGS = RewardSettings(0.1, 0.05, 0.1, 0.0, "turn")
positions = st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=4)


@given(st.lists(positions, min_size=1, max_size=5))
def test_a_batch_holds_every_action_and_ends_with_one(rows):
    made = [episode([turn(position) for position in row]) for row in rows]
    batch = update_batch(made, SETTINGS, False)
    assert len(batch.token_ids) == len(made) and batch.temperature == 1.0
    columns = (batch.token_ids, batch.action_mask, batch.logprobs, batch.rewards)
    for trajectory, ids, mask, logprobs, rewards in zip(made, *columns, strict=True):
        assert len(ids) == len(mask) == len(logprobs) == len(rewards)
        assert mask[-1] == 1 and mask.sum() == ACTED * len(trajectory.turns)
        assert np.array_equal(ids, trajectory.token_ids[: len(ids)])
        assert np.array_equal(logprobs, trajectory.logprobs[: len(ids)])
        assert rewards[mask == 1].sum() == pytest.approx(
            turn_rewards(trajectory.turns, SETTINGS).sum(), abs=1e-6
        )


def test_the_observation_that_nobody_answers_is_cut():
    made = episode([turn(0.5), turn(0.75)])
    assert len(made.token_ids) - len(update_batch([made], SETTINGS, False).token_ids[0]) == OBSERVED


def test_the_order_of_episodes_is_kept():
    made = [episode([turn(0.5)], token_ids=np.full(10, number)) for number in range(5)]
    batch = update_batch(made, SETTINGS, False)
    assert [int(ids[0]) for ids in batch.token_ids] == list(range(5))


def test_a_segment_is_a_row_that_earns_all_that_comes_after():
    """Three turns of 7 tokens; the second segment holds turns 2 and 3, the third no action."""
    made = episode([turn(0.25), turn(0.5), turn(1.0)], segments=(0, 7, 21))
    whole, batch = (
        update_batch([replace(made, segments=(0,))], SETTINGS, False),
        update_batch([made, episode([turn(0.5)])], SETTINGS, False),
    )
    assert [len(ids) for ids in batch.token_ids] == [7, 14, 7]
    assert np.array_equal(np.concatenate(batch.token_ids[:2]), whole.token_ids[0])
    assert np.array_equal(np.concatenate(batch.action_mask[:2]), whole.action_mask[0])
    assert np.array_equal(np.concatenate(batch.logprobs[:2]), whole.logprobs[0])
    assert [float(row.sum()) for row in batch.rewards] == pytest.approx([1.0, 0.75, 0.5])
    assert batch.rewards[0][-1] == pytest.approx(1.0)
    assert batch.episodes == (0, 0, 1)
    assert np.array_equal(batch.rewards[1], whole.rewards[0][7:])


def test_an_update_without_episodes_is_an_error():
    with pytest.raises(ValueError, match="at least one episode"):
        update_batch([], SETTINGS, False)


@pytest.mark.parametrize("change", [{"policy": "other"}, {"temperature": 0.5}])
def test_episodes_of_two_policies_or_temperatures_are_never_mixed(change):
    made = episode([turn(0.5)])
    with pytest.raises(ValueError, match="one update reads the shards of one iteration"):
        update_batch([made, replace(made, **change)], SETTINGS, False)


def test_episodes_of_text_alone_are_refused():
    with pytest.raises(ValueError, match="only episodes of a token-level policy"):
        update_batch([spoken([turn(0.5)])], SETTINGS, False)


def timed(generate, execute, grade, **changes):
    seconds = {"generate_seconds": generate, "execute_seconds": execute, "grade_seconds": grade}
    return turn(**seconds, **changes)


def test_durations_weight_actions_as_worked_out_by_hand():
    """9, 1 and 2 seconds, whose mean is 4."""
    made = [
        episode([timed(1.0, 7.5, 0.5), timed(1.0, 0.0, 0.0, action="get_history")]),
        episode([timed(1.5, 0.5, 0.0, outcome="crashed")]),
    ]
    assert [row.tolist() for row in duration_weights(made)] == [[2.25, 0.25], [0.5]]
    first, second = update_batch(made, SETTINGS, True).weights
    assert first.dtype == np.float32
    assert first[made[0].action_mask[: len(first)] == 1].tolist() == [2.25] * ACTED + [0.25] * ACTED
    assert second[-ACTED:].tolist() == [0.5] * ACTED


@given(st.lists(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=4), min_size=1, max_size=5))
def test_weights_of_durations_have_mean_one_and_keep_their_ratios(seconds):
    made = [episode([timed(0.0, each, 0.0) for each in row]) for row in seconds]
    weights = np.concatenate(duration_weights(made))
    assert weights.mean() == pytest.approx(1, rel=1e-5)
    flat = np.concatenate(seconds)
    np.testing.assert_allclose(weights / weights[0], flat / flat[0], rtol=1e-5)


def test_unless_asked_for_every_action_weighs_the_same():
    made = [episode([timed(1.0, 7.5, 0.5), timed(1.0, 0.0, 0.0)])]
    assert set(update_batch(made, SETTINGS, False).weights[0]) == {1.0}


def test_durations_of_remembered_programs_are_unknown():
    made = [episode([timed(1.0, 2.0, 0.0)]), episode([timed(1.0, 0.0, 0.0)], episode=7)]
    with pytest.raises(ValueError, match=r"episode 7 of wine: .*remember_programs to false"):
        update_batch(made, SETTINGS, True)
    refused = timed(1.0, 0.0, 0.0, outcome="refused")  # no scored submission was left
    update_batch([made[0], episode([refused])], SETTINGS, True)


def test_episodes_of_one_competition_are_a_group():
    made = [episode([turn(0.5)], competition=name) for name in ("wine", "iris", "wine")]
    assert update_batch(made, SETTINGS, False).groups == ("wine", "iris", "wine")


def test_the_summary_counts_what_was_worked_out_by_hand():
    made = [
        episode([turn(action="get_history"), turn(0.25), turn(0.75)]),
        episode([turn(outcome="crashed"), turn(0.5)]),
        episode([turn(outcome="unparsable", action="invalid")]),
    ]
    assert summary(made) == pytest.approx(
        {
            "episodes": 3,
            "turns_per_episode": 2,
            "executions_per_episode": 4 / 3,
            "valid_rate": 3 / 4,
            "mean_best_position": (0.75 + 0.5) / 3,
            "mean_first_position": 0.25 / 3,
            "sampled_tokens": 6 * ACTED,
        }
    )


def test_the_summary_of_episodes_without_executions_is_finite():
    facts = summary([episode([turn(action="reset")])])
    assert facts["valid_rate"] == facts["mean_best_position"] == 0.0


def write(folder, shard, episodes, **changes):
    made = [
        episode([turn(0.5)], shard=shard, episode=number, **changes) for number in range(episodes)
    ]
    write_trajectories(folder / f"shard{shard}.parquet", made, {})


def keys(trajectories):
    return [(trajectory.shard, trajectory.episode) for trajectory in trajectories]


def test_shards_are_read_in_the_order_of_their_numbers(tmp_path):
    for shard in (10, 2, 0):
        write(tmp_path, shard, 2)
    assert keys(read_shards(tmp_path)) == [(0, 0), (0, 1), (2, 0), (2, 1), (10, 0), (10, 1)]


def test_only_the_shards_of_the_iteration_are_read(tmp_path):
    for shard in range(3):
        write(tmp_path, shard, 1)
    assert keys(read_shards(tmp_path, 2)) == [(0, 0), (1, 0)]
    with pytest.raises(FileNotFoundError, match=r"shard3\.parquet: no such trajectory file"):
        read_shards(tmp_path, 4)


def test_a_folder_without_shards_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no trajectory shard"):
        read_shards(tmp_path)


def test_a_shard_that_is_there_twice_is_an_error(tmp_path):
    write(tmp_path, 0, 2)
    (tmp_path / "copy.parquet").write_bytes((tmp_path / "shard0.parquet").read_bytes())
    with pytest.raises(ValueError, match="two shards hold the same episodes"):
        read_shards(tmp_path)


def test_only_the_model_that_played_is_updated(tiny_model, tmp_path):
    made = [episode([turn(0.5)], policy=model_digest(tiny_model))]
    check_models(made, tiny_model, None)
    check_models(made, tiny_model, tiny_model)
    with pytest.raises(ValueError, match="the trajectories were played by somebody"):
        check_models([*made, episode([turn(0.5)], policy="somebody")], tiny_model, None)
    player = tmp_path / "player/model"
    fetch_model(str(tiny_model), None, player)
    (player / "model.safetensors").write_bytes(b"other weights")
    made = [episode([turn(0.5)], policy=model_digest(player))]
    check_models(made, tiny_model, None, player)
    with pytest.raises(ValueError, match=r"name it \(--player\)"):
        check_models(made, tiny_model, None)
    other = tmp_path / "model"
    fetch_model(str(tiny_model), None, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 9}))
    with pytest.raises(ValueError, match="num_hidden_layers is 9, but 2"):
        check_models(made, tiny_model, tmp_path)
