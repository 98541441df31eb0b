"""The numbers of an update against PPO written out in plain PyTorch: see ppo_oracle.py."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ppo_oracle import SEED, Oracle, episodes_of, largest_difference, minibatches
from transformers import AutoModelForCausalLM
from verl_toys import SETTINGS, random_batch

from agent.wrappers.verl_wrapper import ppo_update


def test_first_minibatch_has_the_losses_and_gradients_of_plain_ppo(
    reference: Path, tmp_path: Path
) -> None:
    settings = dataclasses.replace(SETTINGS, epochs=1, minibatch_size=8, entropy_coef=0.02)
    batch = random_batch(7, seed=11, temperature=0.8)
    metrics = ppo_update(batch, reference, None, tmp_path / "out", settings, 1, SEED)
    oracle, episodes = Oracle(reference, settings), episodes_of(batch)
    oracle.warm_up(episodes, 1)
    oracle.prepare(episodes)
    expected = oracle.step(episodes)
    assert {key: metrics[key] for key in expected} == pytest.approx(expected, abs=1e-4)
    assert metrics["gradient_norm"] > 0.1
    assert largest_difference(oracle.actor, tmp_path / "out") < 1e-5


@pytest.mark.parametrize(
    ("advantage", "kl_in"),
    [
        ("gae", "loss"),
        ("gae", "reward"),
        ("grpo", "loss"),
        ("rloo", "reward"),
        ("reinforce_plus_plus", "reward"),
    ],
)
def test_two_iterations_follow_plain_ppo_through_every_step(
    reference: Path, tmp_path: Path, advantage: Any, kl_in: Any
) -> None:
    settings = dataclasses.replace(SETTINGS, advantage=advantage, kl_in=kl_in)
    oracle, previous = Oracle(reference, settings), None
    for iteration in (1, 2):
        batch = random_batch(10, seed=20 + iteration)
        output = tmp_path / f"iteration-{iteration}"
        metrics = ppo_update(batch, reference, previous, output, settings, iteration, SEED)
        episodes, previous = episodes_of(batch), output
        if iteration == 1 and advantage == "gae":
            oracle.warm_up(episodes, iteration)
        oracle.prepare(episodes)
        steps = [oracle.step(each) for each in minibatches(episodes, settings, iteration)]
        assert len(steps) == 6
        for key in steps[0]:
            mean = np.mean([step[key] for step in steps])
            assert metrics[key] == pytest.approx(mean, abs=1e-4), key
        moved = largest_difference(oracle.reference, output)
        assert largest_difference(oracle.actor, output) < 0.01 * moved


def test_weights_multiply_the_gradient_of_each_action(reference: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, epochs=1, minibatch_size=8, entropy_coef=0.02)
    rng, batch = np.random.default_rng(0), random_batch(7, seed=11)
    drawn = tuple(rng.exponential(size=len(row)).astype(np.float32) for row in batch.weights)
    batch = dataclasses.replace(batch, weights=drawn)
    metrics = ppo_update(batch, reference, None, tmp_path / "out", settings, 1, SEED)
    oracle, episodes = Oracle(reference, settings), episodes_of(batch)
    oracle.warm_up(episodes, 1)
    oracle.prepare(episodes)
    expected = oracle.step(episodes)
    assert {key: metrics[key] for key in expected} == pytest.approx(expected, abs=1e-4)
    assert largest_difference(oracle.actor, tmp_path / "out") < 1e-5


def test_old_logprobs_are_those_of_a_full_forward_pass(reference: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(reference)
    batch = random_batch(6, seed=31, temperature=1.3)
    recorded = []
    with torch.no_grad():
        for episode in episodes_of(batch):
            logprobs = np.zeros(len(episode.ids), dtype=np.float32)
            logprobs[episode.actions] = episode.logprobs(model)
            recorded.append(logprobs)
    batch = dataclasses.replace(batch, logprobs=tuple(recorded))
    metrics = ppo_update(batch, reference, None, tmp_path / "out", SETTINGS, 1, SEED)
    assert metrics["rollout_logprob_difference"] < 1e-5
    assert metrics["reference_kl"] == 0


def test_batch_metrics_are_means_over_action_tokens(reference: Path, tmp_path: Path) -> None:
    batch = random_batch(5, seed=41)
    metrics = ppo_update(batch, reference, None, tmp_path / "out", SETTINGS, 1, SEED)
    oracle, episodes = Oracle(reference, SETTINGS), episodes_of(batch)
    oracle.warm_up(episodes, 1)
    oracle.prepare(episodes)
    with torch.no_grad():
        entropy = torch.cat([episode.policy(oracle.actor).entropy() for episode in episodes])
    returns, values = (
        torch.cat([getattr(episode, name) for episode in episodes])
        for name in ("returns", "values")
    )
    explained = 1 - (returns - values).var() / returns.var()
    assert metrics["action_tokens"] == len(returns)
    assert metrics["entropy"] == pytest.approx(float(entropy.mean()), abs=1e-4)
    assert metrics["explained_variance"] == pytest.approx(float(explained), abs=1e-4)
    assert metrics["advantage_std"] == pytest.approx(
        float((returns - values).std(correction=0)), abs=1e-4
    )
    assert metrics["mean_return"] == pytest.approx(
        np.mean([rewards.sum() for rewards in batch.rewards]), abs=1e-5
    )
