"""The numbers of a supervised update against cross-entropy written out in plain PyTorch."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lora_oracle import Adam, adapt, merged_weights, saved_weights
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from verl_toys import (
    LORA,
    SETTINGS,
    TORCHRUN,
    as_config,
    distance,
    imitated,
    logprobs_of,
    random_batch,
    run_toys,
    weights,
    write_tiny_model,
)

from agent.core.records import PPOSettings, SupervisedBatch, UpdateSettings
from agent.wrappers.verl_wrapper import PLAIN, load_verl, ppo_update, supervised_update

WITH_LORA = dataclasses.replace(PLAIN, lora=LORA)
GOOD = imitated(random_batch(3, seed=5))


def episodes(count: int, seed: int, temperature: float = 1.0) -> SupervisedBatch:
    return imitated(random_batch(count, seed, temperature))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def cross_entropies(network: torch.nn.Module, batch: SupervisedBatch, row: int) -> torch.Tensor:
    """Of one episode's action tokens, from transformers' logits."""
    ids = torch.from_numpy(batch.token_ids[row]).long()
    acted = torch.from_numpy(np.flatnonzero(batch.action_mask[row]))
    logits = network(ids[None]).logits[0, acted - 1] / batch.temperature
    return F.cross_entropy(logits, ids[acted], reduction="none")


def drawn_adapters(model: Path, folder: Path, seed: int) -> dict[str, torch.Tensor]:
    """What adapters begin with: those of an actor, without a critic, that learns at a rate of 0."""
    still = dataclasses.replace(SETTINGS, advantage="grpo", learning_rate=0.0)
    ppo_update(random_batch(4, 1), model, None, folder, still, 1, seed, WITH_LORA)
    return saved_weights(folder, "actor")


@pytest.mark.parametrize(("temperature", "compute"), [(1.0, PLAIN), (0.6, PLAIN), (1.0, WITH_LORA)])
def test_an_update_is_gradient_descent_on_cross_entropy(
    model: Path, tmp_path: Path, temperature: float, compute: UpdateSettings
) -> None:
    """Two epochs of minibatches, the last of each filled up with rows that must weigh nothing."""
    batch = episodes(10, seed=1, temperature=temperature)
    settings = dataclasses.replace(SETTINGS, learning_rate=2e-3)
    metrics = supervised_update(batch, model, tmp_path / "out", settings, 1, 7, compute)
    network = AutoModelForCausalLM.from_pretrained(model)
    if compute.lora:
        adapt(network, compute.lora, drawn_adapters(model, tmp_path / "drawn", seed=7))
    optimizer = Adam(network, settings.learning_rate, settings.adam_epsilon)
    with torch.no_grad():
        before = torch.cat([cross_entropies(network, batch, row) for row in range(10)]).mean()
    rng, losses, norms = np.random.default_rng((7, 1)), [], []
    for _ in range(settings.epochs):
        for rows in rng.permutation(12).reshape(-1, settings.minibatch_size):
            loss = torch.cat(
                [cross_entropies(network, batch, row) for row in rows if row < 10]
            ).mean()
            optimizer.zero_grad()
            loss.backward()
            norms.append(
                torch.nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip).item()
            )
            optimizer.step()
            losses.append(loss.item())
    assert metrics["log_likelihood"] == pytest.approx(-before.item(), rel=1e-5)
    assert metrics["supervised_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert metrics["gradient_norm"] == pytest.approx(np.mean(norms), rel=1e-3)
    trained, expected = weights(tmp_path / "out"), merged_weights(network)
    for name, weight in trained.items():
        assert torch.allclose(weight, expected[name], atol=2e-5), name


def test_observation_tokens_are_no_targets(model: Path) -> None:
    """What an observation says changes nothing where no action follows it."""
    verl = load_verl()
    from agent.wrappers import verl_supervised

    def gradient_norm(last: int, mask: list[int]) -> float:
        ids = np.array([5, 6, 7, 17, 42, last], dtype=np.int32)
        batch = SupervisedBatch((ids,) * 4, (np.array(mask, dtype=np.int8),) * 4, 1.0)
        with verl.process_group():
            rows = verl_supervised.supervised_rows(batch, 4)
            learner = verl_supervised.build_learner(model, SETTINGS, PLAIN)
            steps = verl.verl_workers.train(learner, rows, SETTINGS)
        return float(steps["grad_norm"][0])

    observed, acted = [0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1]
    assert gradient_norm(9, observed) == gradient_norm(200, observed)
    assert gradient_norm(9, acted) != gradient_norm(200, acted)


def test_what_is_imitated_becomes_more_likely(model: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, learning_rate=1e-3, epochs=4)
    batch = episodes(8, seed=3)
    metrics = supervised_update(batch, model, tmp_path / "out", settings, 1, seed=0)
    with torch.no_grad():
        networks = [
            AutoModelForCausalLM.from_pretrained(p) for p in (model, tmp_path / "out/model")
        ]
        before, after = (
            -torch.cat([cross_entropies(network, batch, row) for row in range(8)]).mean().item()
            for network in networks
        )
    assert after > before + 0.5
    assert metrics["log_likelihood"] == pytest.approx(before, rel=1e-5)
    assert metrics["log_likelihood_after"] == pytest.approx(after, rel=1e-5)


@pytest.mark.parametrize("compute", [PLAIN, WITH_LORA])
def test_an_update_repeats_byte_for_byte_and_leaves_nothing_to_resume(
    compute: UpdateSettings, model: Path, tmp_path: Path
) -> None:
    for name in "ab":
        supervised_update(episodes(6, 1), model, tmp_path / name, SETTINGS, 1, 0, compute)
    left, right = (tmp_path / name / "model/model.safetensors" for name in "ab")
    assert left.read_bytes() == right.read_bytes()
    assert [folder.name for folder in (tmp_path / "a").iterdir()] == ["model"]
    assert (tmp_path / "a/model/tokenizer.json").read_bytes() == (
        model / "tokenizer.json"
    ).read_bytes()


@pytest.mark.parametrize(
    ("launcher", "compute"), [((), WITH_LORA), (TORCHRUN, PLAIN), (TORCHRUN, WITH_LORA)]
)
def test_a_chain_goes_on_in_a_new_process_and_in_two(
    launcher: tuple[str, ...], compute: UpdateSettings, model: Path, tmp_path: Path
) -> None:
    supervised_update(episodes(6, 2), model, tmp_path / "first", SETTINGS, 1, 0, compute)
    start = tmp_path / "first/model"
    supervised_update(episodes(10, 1), start, tmp_path / "here", SETTINGS, 1, 0, compute)
    flags = {"advantage": "supervised", "config": as_config(compute)}
    run_toys(*launcher, reference=start, output=tmp_path / "there", **flags)
    apart = distance(tmp_path / "here", tmp_path / "there")
    assert apart < 1e-5 if launcher else apart == 0
    assert distance(tmp_path / "first", tmp_path / "here") > 100 * apart


@pytest.mark.parametrize("compute", [PLAIN, WITH_LORA])
def test_ppo_starts_from_what_was_imitated(
    compute: UpdateSettings, model: Path, tmp_path: Path
) -> None:
    """The policy that imitated is its reference: no divergence yet, and it moves on from there.

    With LoRA its merged weights are the base of PPO's own adapters.
    """
    supervised_update(episodes(6, 1), model, tmp_path / "warm", SETTINGS, 1, 0, compute)
    warm, output = tmp_path / "warm/model", tmp_path / "ppo"
    batch = logprobs_of(warm, random_batch(6, 2))
    metrics = ppo_update(batch, warm, None, output, SETTINGS, 2, 0, compute)
    assert metrics["reference_kl"] == 0.0 and metrics["rollout_logprob_difference"] < 1e-5
    base = load_file(model / "model.safetensors")
    between, after = weights(tmp_path / "warm"), weights(output)
    for key, weight in base.items():
        learns = not compute.lora or any(f"{name}.weight" in key for name in LORA.targets)
        assert torch.equal(weight, between[key]) == (not learns), key
        assert torch.equal(between[key], after[key]) == (not learns), key


@pytest.mark.parametrize(
    ("batch", "compute", "complaint"),
    [
        (SupervisedBatch((), (), 1.0), PLAIN, "the batch has no episodes"),
        (GOOD, dataclasses.replace(PLAIN, tokens_per_process=5), r"episode 0 has \d+ tokens, but"),
        (
            dataclasses.replace(GOOD, token_ids=tuple(row + 256 for row in GOOD.token_ids)),
            PLAIN,
            r"episode 0 has token ids outside 0\.\.255",
        ),
        (
            dataclasses.replace(GOOD, action_mask=tuple(mask | 1 for mask in GOOD.action_mask)),
            PLAIN,
            "episode 0 begins with an action token",
        ),
    ],
)
def test_what_cannot_be_imitated_is_refused(
    batch: SupervisedBatch, compute: UpdateSettings, complaint: str, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=complaint):
        supervised_update(batch, model, tmp_path / "out", SETTINGS, 1, 0, compute)
    assert list(tmp_path.iterdir()) == []


def test_ppo_does_not_resume_what_was_imitated(model: Path, tmp_path: Path) -> None:
    warm = tmp_path / "warm"
    supervised_update(episodes(6, 1), model, warm, SETTINGS, 1, seed=0)
    with pytest.raises(FileNotFoundError, match=r"fsdp_config\.json: there is none, so nothing to"):
        ppo_update(random_batch(6, 2), warm / "model", warm, tmp_path / "x", SETTINGS, 2, seed=0)


def test_a_diverged_update_leaves_no_checkpoint(model: Path, tmp_path: Path) -> None:
    settings: PPOSettings = dataclasses.replace(SETTINGS, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="the gradient norm is no longer finite"):
        supervised_update(episodes(8, 1), model, tmp_path / "out", settings, 1, seed=0)
    assert not (tmp_path / "out").exists()
