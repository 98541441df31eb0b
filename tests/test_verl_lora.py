"""LoRA on actor and critic: its numbers against plain PyTorch, what moves, merges and resumes."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from lora_oracle import Adam, Weights, adapt, adapters, merged_weights, saved_weights
from ppo_oracle import SEED, Oracle, episodes_of, minibatches
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from verl_toys import (
    LORA,
    SETTINGS,
    as_config,
    distance,
    logprobs_of,
    random_batch,
    run_toys,
    weights,
)

from agent.core.records import LoRASettings, PPOSettings
from agent.wrappers.verl_wrapper import PLAIN, ppo_update

WITH_LORA = dataclasses.replace(PLAIN, lora=LORA)
Run = tuple[Path, dict[str, float]]


@pytest.fixture(scope="module")
def unmoved(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of adapters as they are drawn: nothing learns at a rate of zero."""
    output = tmp_path_factory.mktemp("unmoved") / "out"
    still = dataclasses.replace(SETTINGS, learning_rate=0.0, critic_learning_rate=0.0)
    ppo_update(random_batch(4, 1), reference, None, output, still, 1, SEED, WITH_LORA)
    return output


def test_new_adapters_change_no_logit(reference: Path, unmoved: Path) -> None:
    for model in ("actor", "critic"):
        drawn = saved_weights(unmoved, model)
        ups = [weight for key, weight in drawn.items() if "lora_B" in key]
        downs = [weight for key, weight in drawn.items() if "lora_A" in key]
        assert len(ups) == len(downs) == 2 * len(LORA.targets)
        assert not any(weight.any() for weight in ups) and all(weight.any() for weight in downs)
    ids = torch.arange(40)[None]
    base, merged = (
        AutoModelForCausalLM.from_pretrained(folder)(ids).logits
        for folder in (reference, unmoved / "model")
    )
    assert torch.equal(base, merged)


def adapted_oracle(reference: Path, settings: PPOSettings, start: Path) -> Oracle:
    """PPO in plain PyTorch of adapters alone, and of the critic's head."""
    oracle = Oracle(reference, settings)
    for name in ("actor", "critic"):
        adapt(getattr(oracle, name), LORA, saved_weights(start, name))
    epsilon = settings.adam_epsilon
    oracle.actor_optimizer = Adam(oracle.actor, settings.learning_rate, epsilon)  # type: ignore[assignment]
    rate = settings.critic_learning_rate
    oracle.critic_optimizer = Adam(oracle.critic, rate, epsilon)  # type: ignore[assignment]
    return oracle


def largest(left: Weights, right: Weights) -> float:
    assert left.keys() == right.keys()
    return max(float((weight - right[key]).abs().max()) for key, weight in left.items())


def test_two_updates_of_adapters_follow_plain_pytorch(
    reference: Path, unmoved: Path, tmp_path: Path
) -> None:
    """Its own forward pass, W + (alpha / rank) B A, and its own Adam, which is never saved."""
    settings = dataclasses.replace(SETTINGS, learning_rate=2e-3, critic_learning_rate=5e-3)
    oracle, previous = adapted_oracle(reference, settings, unmoved), None
    for iteration in (1, 2):
        batch, output = random_batch(10, seed=20 + iteration), tmp_path / str(iteration)
        args = (settings, iteration, SEED, WITH_LORA)
        metrics = ppo_update(batch, reference, previous, output, *args)
        episodes, previous = episodes_of(batch), output
        if iteration == 1:
            oracle.warm_up(episodes, iteration)
        oracle.prepare(episodes)
        steps = [oracle.step(each) for each in minibatches(episodes, settings, iteration)]
        for key in steps[0]:
            mean = np.mean([step[key] for step in steps])
            assert metrics[key] == pytest.approx(mean, rel=1e-4, abs=1e-5), key
        for name in ("actor", "critic"):
            expected = adapters(getattr(oracle, name))
            saved, drawn = saved_weights(output, name), saved_weights(unmoved, name)
            moved = largest({key: drawn[key] for key in expected}, expected)
            assert moved > 0.01
            assert largest({key: saved[key] for key in expected}, expected) < 1e-3 * moved
            frozen = saved.keys() - expected.keys()  # of the actor only adapters are saved
            assert (name == "critic") == bool(frozen)
            assert all(torch.equal(saved[key], drawn[key]) for key in frozen)
    exported = weights(output)
    assert largest(exported, merged_weights(oracle.actor)) < 1e-5
    network = AutoModelForCausalLM.from_pretrained(output / "model")
    for episode in episodes:
        with torch.no_grad():
            difference = episode.logits(network) - episode.logits(oracle.actor)
        assert difference.abs().max() < 1e-4


@pytest.fixture(scope="module")
def adapted(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The first update of adapters and its metrics."""
    output = tmp_path_factory.mktemp("adapted") / "out"
    batch = random_batch(10, 1)
    return output, ppo_update(batch, reference, None, output, SETTINGS, 1, 0, WITH_LORA)


def test_adapters_continue_in_a_new_process(reference: Path, adapted: Run, tmp_path: Path) -> None:
    batch = random_batch(10, seed=2)
    here, there = tmp_path / "here", tmp_path / "there"
    ppo_update(batch, reference, adapted[0], here, SETTINGS, 2, 0, WITH_LORA)
    run_toys(reference=reference, previous=adapted[0], output=there, config=as_config(WITH_LORA))
    assert weights(here).keys() == weights(there).keys()
    assert distance(here, there) == 0 < distance(here, adapted[0])


def test_bf16_adapters_learn_from_a_minibatch_in_one_pass_as_in_two(
    reference: Path, tmp_path: Path
) -> None:
    """Also on going on, when the reference is asked, too; gradients arrive in float32."""
    compute, norms = dataclasses.replace(WITH_LORA, precision="bf16"), []
    for microbatch in (2, 4):
        settings, previous = dataclasses.replace(SETTINGS, microbatch_size=microbatch), None
        for iteration in (1, 2):
            output = tmp_path / f"{microbatch}-{iteration}"
            args = (settings, iteration, 0, compute)
            metrics = ppo_update(random_batch(8, iteration), reference, previous, output, *args)
            norms.append([metrics["gradient_norm"], metrics["critic_gradient_norm"]])
            previous = output
    assert norms[2:] == [pytest.approx(pair, rel=0.02) for pair in norms[:2]]


def test_merged_model_says_what_the_adapted_one_does(
    reference: Path, adapted: Run, tmp_path: Path
) -> None:
    """And the reference is the actor without its adapter."""
    batch = logprobs_of(adapted[0] / "model", random_batch(8, seed=2, temperature=0.8))
    args = (SETTINGS, 2, 0, WITH_LORA)
    metrics = ppo_update(batch, reference, adapted[0], tmp_path / "out", *args)
    assert metrics["rollout_logprob_difference"] < 1e-5
    base = np.concatenate(logprobs_of(reference, batch).logprobs)
    gained = np.concatenate(batch.logprobs) - base
    assert np.abs(gained).max() > 0.01
    expected = gained.sum() / metrics["action_tokens"]
    assert metrics["reference_kl"] == pytest.approx(expected, abs=1e-6)


def test_only_what_has_an_adapter_changes(reference: Path, adapted: Run) -> None:
    before, after = load_file(reference / "model.safetensors"), weights(adapted[0])
    assert before.keys() == after.keys()
    for key, weight in after.items():
        trained = any(f"{target}.weight" in key for target in LORA.targets)
        assert torch.equal(before[key], weight) != trained, key
    saved = torch.load(adapted[0] / "verl/actor/model_world_size_1_rank_0.pt", weights_only=False)
    assert saved and all(".lora_" in key for key in saved)


@pytest.mark.parametrize(
    "lora",
    [
        None,
        dataclasses.replace(LORA, rank=2),
        dataclasses.replace(LORA, alpha=4),
        dataclasses.replace(LORA, targets=("q_proj", "v_proj")),
    ],
)
def test_adapters_continue_as_they_began(
    lora: LoRASettings | None, reference: Path, adapted: Run, tmp_path: Path
) -> None:
    args = (SETTINGS, 2, 0, dataclasses.replace(PLAIN, lora=lora))
    with pytest.raises(ValueError, match=r"it was trained with {'rank': 4, .* but update.lora is"):
        ppo_update(random_batch(4, 1), reference, adapted[0], tmp_path / "x", *args)


def test_full_training_does_not_become_lora(reference: Path, tmp_path: Path) -> None:
    whole, batch = tmp_path / "whole", random_batch(4, 1)
    ppo_update(batch, reference, None, whole, SETTINGS, 1, 0)
    with pytest.raises(ValueError, match=r"it was trained with None, but update.lora is {'rank'"):
        ppo_update(batch, reference, whole, tmp_path / "x", SETTINGS, 2, 0, WITH_LORA)
