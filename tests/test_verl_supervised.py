"""The numbers of a supervised update against cross-entropy written out in plain PyTorch."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from verl_toys import SETTINGS, random_batch, write_tiny_model

from agent.core.records import PPOSettings, SupervisedBatch
from agent.wrappers.verl_wrapper import PLAIN, load_verl, ppo_update, supervised_update

TOYS = Path(__file__).with_name("verl_toys.py")


def episodes(count: int, seed: int, temperature: float = 1.0) -> SupervisedBatch:
    batch = random_batch(count, seed)
    return SupervisedBatch(batch.token_ids, batch.action_mask, temperature)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def distance(left: Path, right: Path) -> float:
    others = weights(right)
    return max(float((weight - others[key]).abs().max()) for key, weight in weights(left).items())


def cross_entropies(network: torch.nn.Module, batch: SupervisedBatch, row: int) -> torch.Tensor:
    """Of one episode's action tokens, from transformers' logits."""
    ids = torch.from_numpy(batch.token_ids[row]).long()
    acted = torch.from_numpy(np.flatnonzero(batch.action_mask[row]))
    logits = network(ids[None]).logits[0, acted - 1] / batch.temperature
    return F.cross_entropy(logits, ids[acted], reduction="none")


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_an_update_is_gradient_descent_on_cross_entropy(
    model: Path, tmp_path: Path, temperature: float
) -> None:
    """Two epochs of minibatches, the last of each filled up with rows that must weigh nothing."""
    batch = episodes(10, seed=1, temperature=temperature)
    metrics = supervised_update(batch, model, tmp_path / "out", SETTINGS, 1, seed=7)
    network = AutoModelForCausalLM.from_pretrained(model)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=SETTINGS.learning_rate, eps=SETTINGS.adam_epsilon, weight_decay=0.0
    )
    with torch.no_grad():
        before = torch.cat([cross_entropies(network, batch, row) for row in range(10)]).mean()
    rng, losses, norms = np.random.default_rng((7, 1)), [], []
    for _ in range(SETTINGS.epochs):
        for rows in rng.permutation(12).reshape(-1, SETTINGS.minibatch_size):
            loss = torch.cat(
                [cross_entropies(network, batch, row) for row in rows if row < 10]
            ).mean()
            optimizer.zero_grad()
            loss.backward()
            norms.append(
                torch.nn.utils.clip_grad_norm_(network.parameters(), SETTINGS.gradient_clip).item()
            )
            optimizer.step()
            losses.append(loss.item())
    assert metrics["log_likelihood"] == pytest.approx(-before.item(), rel=1e-5)
    assert metrics["supervised_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert metrics["gradient_norm"] == pytest.approx(np.mean(norms), rel=1e-3)
    trained = weights(tmp_path / "out/model")
    for name, parameter in network.state_dict().items():
        if name in trained:
            assert torch.allclose(trained[name], parameter, atol=2e-5), name


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


def test_an_update_repeats_byte_for_byte_and_leaves_nothing_to_resume(
    model: Path, tmp_path: Path
) -> None:
    for name in "ab":
        supervised_update(episodes(6, 1), model, tmp_path / name, SETTINGS, 1, seed=0)
    left, right = (tmp_path / name / "model/model.safetensors" for name in "ab")
    assert left.read_bytes() == right.read_bytes()
    assert not list(tmp_path.rglob("*.pt")) and (tmp_path / "a/verl/actor").is_dir()
    assert (tmp_path / "a/model/tokenizer.json").read_bytes() == (
        model / "tokenizer.json"
    ).read_bytes()


def run_toys(*launcher: str, model: Path, output: Path) -> None:
    """The second update of a chain in new processes, with the toys' settings."""
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[3])\n"
        "from test_verl_supervised import SETTINGS, episodes, supervised_update\n"
        "supervised_update(episodes(6, 2), Path(sys.argv[1]), Path(sys.argv[2]), SETTINGS, 2, 0)"
    )
    script = output.with_suffix(".py")
    script.write_text(program)
    group = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    inherited = {key: value for key, value in os.environ.items() if key not in group}
    command = [sys.executable, *launcher, str(script), str(model), str(output), str(TOYS.parent)]
    done = subprocess.run(command, env=inherited, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_chain_goes_on_in_a_new_process_and_in_two(model: Path, tmp_path: Path) -> None:
    supervised_update(episodes(6, 1), model, tmp_path / "first", SETTINGS, 1, seed=0)
    start = tmp_path / "first/model"
    supervised_update(episodes(6, 2), start, tmp_path / "second", SETTINGS, 2, seed=0)
    run_toys(model=start, output=tmp_path / "new")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    run_toys(*launcher, model=start, output=tmp_path / "two")
    expected = (tmp_path / "second/model/model.safetensors").read_bytes()
    assert (tmp_path / "new/model/model.safetensors").read_bytes() == expected
    assert distance(tmp_path / "second/model", tmp_path / "two/model") < 1e-5


def test_ppo_starts_from_what_was_imitated(model: Path, tmp_path: Path) -> None:
    """The policy that imitated is its reference: no divergence yet, and it moves on from there."""
    supervised_update(episodes(6, 1), model, tmp_path / "warm", SETTINGS, 1, seed=0)
    warm = tmp_path / "warm/model"
    metrics = ppo_update(random_batch(6, 2), warm, None, tmp_path / "ppo", SETTINGS, 2, seed=0)
    assert metrics["reference_kl"] == 0.0
    assert 0 < distance(warm, tmp_path / "ppo/model") < distance(model, tmp_path / "ppo/model")


def test_a_diverged_update_leaves_no_checkpoint(model: Path, tmp_path: Path) -> None:
    settings: PPOSettings = dataclasses.replace(SETTINGS, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="the gradient norm is no longer finite"):
        supervised_update(episodes(8, 1), model, tmp_path / "out", settings, 1, seed=0)
    assert not (tmp_path / "out").exists()
