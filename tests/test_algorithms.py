"""The options of an update: what each computes, trains, saves and refuses.

Whole updates with each of them are checked against plain PyTorch in test_verl_oracle.py.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from verl_toys import (
    SETTINGS,
    TORCHRUN,
    distance,
    random_batch,
    run_toys,
    weights,
)

from agent.core.records import PPOSettings, UpdateBatch
from agent.wrappers.verl_wrapper import PLAIN, load_verl, ppo_update

CRITIC_FREE = ("grpo", "rloo", "reinforce_plus_plus")
OF_CRITICS = ("mean_value", "explained_variance", "value_loss", "critic_gradient_norm")
OF_ACTORS = ("policy_loss", "approx_kl", "clip_fraction", "gradient_norm")


def chosen(advantage: Any, **changes: Any) -> PPOSettings:
    return dataclasses.replace(SETTINGS, advantage=advantage, **changes)


def one_token_each(returns: dict[str, list[float]]) -> UpdateBatch:
    """An episode of two actions for each return, which is earned half and half; by group."""
    rows = [(group, earned) for group, each in returns.items() for earned in each]
    count, mask = len(rows), np.array([0, 1, 0, 1], np.int8)
    return UpdateBatch(
        token_ids=(np.arange(4, dtype=np.int32),) * count,
        action_mask=(mask,) * count,
        logprobs=(np.zeros(4, np.float32),) * count,
        rewards=tuple(np.float32(mask * earned / 2) for _, earned in rows),
        weights=(np.ones(4, np.float32),) * count,
        groups=tuple(group for group, _ in rows),
        episodes=tuple(range(count)),
        temperature=1.0,
    )


def advantages(
    batch: UpdateBatch, settings: PPOSettings, divergence: Any = 0.0, multiple: int = 1
) -> list[list[float]]:
    """Advantage of each episode's two actions; its tokens diverge so much from the reference."""
    verl = load_verl()
    rows = verl.response_rows(batch, multiple)
    rows["ref_log_prob"] = torch.zeros_like(rows["token_level_scores"])
    rows["old_log_probs"] = rows["ref_log_prob"] + divergence
    verl.estimate_advantages(rows, settings)
    estimated: list[list[float]] = rows["advantages"][: len(batch.groups)][:, [0, 2]].tolist()
    return estimated


GROUPS = {"wine": [1.0, 3.0], "iris": [0.0, 0.0, 6.0]}


@pytest.mark.parametrize(
    ("advantage", "expected"),
    [
        # Means 2 and 2, deviations sqrt(2) and sqrt(12).
        (
            "grpo",
            [-1 / math.sqrt(2), 1 / math.sqrt(2), *[-2 / math.sqrt(12)] * 2, 4 / math.sqrt(12)],
        ),
        # The others' means: 3, 1; 3, 3, 0.
        ("rloo", [-2.0, 2.0, -3.0, -3.0, 6.0]),
    ],
)
@pytest.mark.parametrize("multiple", [1, 4])
def test_episodes_are_compared_within_their_group(
    advantage: str, expected: list[float], multiple: int
) -> None:
    """Rows that only fill a minibatch are in no one's group."""
    estimated = advantages(one_token_each(GROUPS), chosen(advantage), multiple=multiple)
    for row, number in zip(estimated, expected, strict=True):
        assert row == pytest.approx([number] * 2, abs=1e-5)


PLAYED_IN_SEGMENTS = (0, 0, 0, 0, 1)  # one episode of four segments, one of one


@pytest.mark.parametrize(
    ("advantage", "expected"),
    [
        # Returns .8 and .3: mean .55, deviation .25 sqrt(2).
        ("grpo", [1 / math.sqrt(2)] * 4 + [-1 / math.sqrt(2)]),
        ("rloo", [0.5] * 4 + [-0.5]),
    ],
)
@pytest.mark.parametrize("multiple", [1, 4])
def test_segments_share_the_advantage_of_their_episode(
    advantage: str, expected: list[float], multiple: int
) -> None:
    """All was earned in the first segment; one row's return after another would blame the rest."""
    batch = one_token_each({"wine": [0.8, 0.0, 0.0, 0.0, 0.3]})
    batch = dataclasses.replace(batch, episodes=PLAYED_IN_SEGMENTS)
    estimated = advantages(batch, chosen(advantage), multiple=multiple)
    for row, number in zip(estimated, expected, strict=True):
        assert row == pytest.approx([number] * 2, abs=1e-5)


def test_an_episode_pays_for_the_divergence_of_all_its_segments() -> None:
    """Half of .2 for each of eight actions, of two in the other episode: 2 - .8 against 1 - .2."""
    batch = one_token_each({"wine": [2.0, 1.5, 0.5, 0.5, 1.0]})
    batch = dataclasses.replace(batch, episodes=PLAYED_IN_SEGMENTS)
    settings = chosen("rloo", kl_in="reward", kl_coef=0.5)
    estimated = advantages(batch, settings, divergence=0.2)
    np.testing.assert_allclose(estimated, [[0.4] * 2] * 4 + [[-0.4] * 2], rtol=1e-5)


@pytest.mark.parametrize("advantage", ["gae", "grpo"])
def test_the_mean_return_is_one_of_episodes(
    reference: Path, tmp_path: Path, advantage: str
) -> None:
    """What is earned late is in the row of each segment before, but counts once."""
    batch = one_token_each({"wine": [0.8, 0.6, 0.2, 0.2, 0.4]})
    batch = dataclasses.replace(batch, episodes=PLAYED_IN_SEGMENTS)
    metrics = ppo_update(batch, reference, None, tmp_path / "out", chosen(advantage), 1, seed=0)
    assert metrics["mean_return"] == pytest.approx(0.6, abs=1e-6)


def test_reinforce_plus_plus_whitens_the_returns_of_all_tokens() -> None:
    settings = chosen("reinforce_plus_plus", gamma=1.0)
    estimated = advantages(one_token_each({"wine": [0.0, 2.0], "iris": [4.0]}), settings)
    returns = np.array([[0, 0], [2, 1], [4, 2]])  # still to come from the action on
    whitened = (returns - returns.mean()) / returns.std(ddof=1)
    np.testing.assert_allclose(estimated, whitened, atol=1e-5)


@pytest.mark.parametrize(("kl_in", "advantage"), [("loss", 2.0), ("reward", 1.8)])
def test_divergence_is_paid_for_token_by_token_where_it_is_in_the_reward(
    kl_in: str, advantage: float
) -> None:
    """The second episode diverges by 0.2 and pays half of that for each of its two actions."""
    estimated = advantages(
        one_token_each({"wine": [1.0, 3.0]}),
        chosen("rloo", kl_in=kl_in, kl_coef=0.5),
        divergence=torch.tensor([[0.0], [0.2]]),
    )
    np.testing.assert_allclose(estimated, [[-advantage] * 2, [advantage] * 2], rtol=1e-5)


@given(st.integers(0, 2**32 - 1), st.floats(0, 10))
def test_weights_multiply_whitened_advantages(seed: int, weight: float) -> None:
    verl = load_verl()
    batch = random_batch(5, seed)
    heavy = tuple(np.float32(weight) * row for row in batch.weights)
    estimated = []
    for each in (batch, dataclasses.replace(batch, weights=heavy)):
        rows = verl.response_rows(each, 5)
        for key in ("values", "old_log_probs", "ref_log_prob"):
            rows[key] = torch.zeros(rows["response_mask"].shape)
        verl.estimate_advantages(rows, SETTINGS)
        estimated.append(rows["advantages"][rows["response_mask"].bool()])
    assert torch.equal(estimated[1], estimated[0] * np.float32(weight))


@pytest.mark.parametrize("advantage", CRITIC_FREE)
def test_without_a_critic_none_is_saved_measured_or_missed(
    reference: Path, tmp_path: Path, advantage: str
) -> None:
    previous = None
    for iteration in (1, 2):
        output = tmp_path / str(iteration)
        batch = random_batch(6, seed=iteration)
        metrics = ppo_update(batch, reference, previous, output, chosen(advantage), iteration, 0)
        previous = output
        assert not (output / "verl" / "critic").exists()
        assert all(math.isnan(metrics[key]) for key in OF_CRITICS)
        assert all(math.isfinite(metrics[key]) for key in metrics.keys() - set(OF_CRITICS))
    assert distance(tmp_path / "1", tmp_path / "2") > 0
    with pytest.raises(ValueError, match=r"critic: there is none, but ppo\.advantage gae"):
        ppo_update(batch, reference, previous, tmp_path / "3", SETTINGS, 3, seed=0)


def test_two_processes_train_without_a_critic_as_one_does(reference: Path, tmp_path: Path) -> None:
    batch = random_batch(10, seed=1)
    metrics = ppo_update(batch, reference, None, tmp_path / "one", chosen("grpo"), 1, seed=0)
    together = run_toys(*TORCHRUN, reference=reference, output=tmp_path / "two", advantage="grpo")
    assert together == pytest.approx(metrics, rel=1e-5, abs=1e-6, nan_ok=True)
    assert distance(tmp_path / "one", tmp_path / "two") < 1e-5


def test_warm_up_trains_the_critic_alone(reference: Path, tmp_path: Path) -> None:
    settings = chosen("gae", critic_warmup=1)
    first, second = tmp_path / "first", tmp_path / "second"
    metrics = ppo_update(random_batch(6, 1), reference, None, first, settings, 1, seed=0)
    assert all(math.isnan(metrics[key]) for key in OF_ACTORS)
    assert metrics["critic_gradient_norm"] > 0
    before = load_file(reference / "model.safetensors")
    assert all(torch.equal(weight, before[key]) for key, weight in weights(first).items())
    metrics = ppo_update(random_batch(6, 2), reference, first, second, settings, 2, seed=0)
    assert all(math.isfinite(number) for number in metrics.values())
    assert metrics["reference_kl"] == 0 and distance(first, second) > 0


@pytest.mark.parametrize(
    ("dual_clip", "loss", "learns"), [(3.0, 3.0, False), (100.0, math.exp(2), True)]
)
def test_dual_clip_bounds_the_loss_of_a_bad_action_that_became_likely(
    reference: Path, dual_clip: float, loss: float, learns: bool
) -> None:
    """Every token is exp(2) times as likely as when it was sampled, and its advantage is -1."""
    settings = chosen("gae", dual_clip=dual_clip, kl_coef=0.0, entropy_coef=0.0)
    verl = load_verl()
    with verl.process_group():
        rows = verl.response_rows(random_batch(4, seed=3), 4)
        actor = verl.verl_workers.build_actor(reference, settings, PLAIN)
        (logprobs,) = verl.verl_workers.infer(actor, rows, "log_probs", no_adapter=False)
        rows["old_log_probs"] = rows["ref_log_prob"] = logprobs - 2
        rows["advantages"] = torch.full_like(logprobs, -1.0)
        metrics = verl.verl_workers.train(actor, rows, settings)
    assert metrics["actor/pg_loss"] == pytest.approx([loss], rel=1e-5)
    assert (metrics["grad_norm"][0] > 0.01) == learns


@pytest.mark.parametrize("advantage", ["grpo", "rloo"])
def test_a_competition_played_once_cannot_be_compared(
    reference: Path, tmp_path: Path, advantage: str
) -> None:
    batch = one_token_each({"wine": [1.0, 2.0], "iris": [0.5, 0.5]})
    batch = dataclasses.replace(batch, episodes=(0, 1, 2, 2))  # twice in rows, once in episodes
    with pytest.raises(
        ValueError, match=r"iris was played once, but .* choose reinforce_plus_plus"
    ):
        ppo_update(batch, reference, None, tmp_path / "out", chosen(advantage), 1, seed=0)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (chosen("rloo", critic_warmup=2), "critic_warmup is 2, but ppo.advantage rloo has no"),
        (chosen("gae", dual_clip=1.0), r"dual_clip 1\.0 is not above 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    reference: Path, tmp_path: Path, settings: PPOSettings, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        ppo_update(random_batch(4, 1), reference, None, tmp_path / "out", settings, 1, seed=0)
    assert not (tmp_path / "out").exists()
