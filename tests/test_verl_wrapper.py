"""What an update writes, refuses and repeats; its numbers are checked in test_verl_oracle.py."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from verl_toys import (
    SETTINGS,
    TORCHRUN,
    VOCABULARY,
    distance,
    random_batch,
    run_toys,
)

from agent.core.records import UpdateBatch
from agent.wrappers.verl_wrapper import PLAIN, load_verl, ppo_update


@pytest.fixture(scope="module")
def first_run(
    reference: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, float]]:
    """The checkpoint of iteration 1 and its metrics."""
    output = tmp_path_factory.mktemp("chain") / "first"
    batch = random_batch(10, seed=1)
    return output, ppo_update(batch, reference, None, output, SETTINGS, 1, seed=0)


@pytest.fixture(scope="module")
def first(first_run: tuple[Path, dict[str, float]]) -> Path:
    return first_run[0]


@pytest.fixture(scope="module")
def second(reference: Path, first: Path) -> Path:
    """The checkpoint of iteration 2, which continues the first."""
    output = first.with_name("second")
    ppo_update(random_batch(10, seed=2), reference, first, output, SETTINGS, 2, seed=0)
    return output


def test_model_folder_loads_as_exactly_the_trained_weights(reference: Path, first: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(first / "model", dtype="auto")
    trained = torch.load(
        first / "verl" / "actor" / "model_world_size_1_rank_0.pt", weights_only=False
    )
    loaded = model.state_dict()
    assert loaded.keys() == trained.keys()
    for key, weight in trained.items():
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], weight.full_tensor()), key
    before = load_file(reference / "model.safetensors")
    assert all(not torch.equal(before[key], loaded[key]) for key in before)


def test_model_folder_keeps_the_reference_tokenizer(reference: Path, first: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (first / "model" / name).read_bytes() == (reference / name).read_bytes()
    assert AutoTokenizer.from_pretrained(first / "model").decode([40, 41]) != ""


def test_checkpoint_names_no_path_of_this_machine(reference: Path, first: Path) -> None:
    for file in first.rglob("*.json"):
        assert str(reference.parent.parent) not in file.read_text()


def test_checkpoint_holds_the_weights_of_actor_and_critic_once_each(first: Path) -> None:
    assert [file.name for file in first.rglob("*.safetensors")] == ["model.safetensors"]
    assert len(list(first.rglob("model_world_size_*.pt"))) == 2


def test_update_repeats_byte_for_byte(reference: Path, first: Path, tmp_path: Path) -> None:
    batch = random_batch(10, seed=1)
    again = [
        ppo_update(batch, reference, None, tmp_path / name, SETTINGS, 1, seed=0) for name in "ab"
    ]
    assert again[0] == again[1]
    for file in ("model.safetensors", "config.json"):
        expected = (first / "model" / file).read_bytes()
        assert (tmp_path / "a" / "model" / file).read_bytes() == expected


def test_resuming_in_a_new_process_equals_going_on(
    reference: Path, first: Path, second: Path, tmp_path: Path
) -> None:
    run_toys(reference=reference, previous=first, output=tmp_path / "second")
    expected = (second / "model" / "model.safetensors").read_bytes()
    assert (tmp_path / "second" / "model" / "model.safetensors").read_bytes() == expected


def test_two_processes_train_as_one_does(
    reference: Path, first_run: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    first, metrics = first_run
    together = run_toys(*TORCHRUN, reference=reference, output=tmp_path / "first")
    assert together == pytest.approx(metrics, rel=1e-5, abs=1e-6)
    assert distance(first, tmp_path / "first") < 1e-5
    with pytest.raises(ValueError, match=r"world_size is 2, but 1 processes run now"):
        ppo_update(
            random_batch(4, 1), reference, tmp_path / "first", tmp_path / "x", SETTINGS, 2, seed=0
        )


def test_seed_and_iteration_change_the_result(reference: Path, first: Path, tmp_path: Path) -> None:
    batch = random_batch(10, seed=1)
    ppo_update(batch, reference, None, tmp_path / "seed", SETTINGS, 1, seed=1)
    ppo_update(batch, reference, None, tmp_path / "iteration", SETTINGS, 2, seed=0)
    assert distance(first, tmp_path / "seed") > 0
    assert distance(first, tmp_path / "iteration") > 0


def test_standard_output_stays_the_callers(
    reference: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ppo_update(random_batch(4, 1), reference, None, tmp_path / "out", SETTINGS, 1, seed=0)
    assert capfd.readouterr().out == ""


def test_rewarded_action_becomes_more_likely(reference: Path, tmp_path: Path) -> None:
    prompt, good, bad = [5, 6, 7], 17, 42
    actions = [good, bad] * 8
    rows = [np.array([*prompt, action], dtype=np.int32) for action in actions]
    mask = np.array([0, 0, 0, 1], dtype=np.int8)
    rewards = [np.float32(mask * (action == good)) for action in actions]
    batch = UpdateBatch(
        tuple(rows),
        (mask,) * 16,
        (np.zeros(4, np.float32),) * 16,
        tuple(rewards),
        (np.ones(4, np.float32),) * 16,
        ("wine",) * 16,
        tuple(range(16)),
        1.0,
    )
    settings = dataclasses.replace(SETTINGS, learning_rate=1e-3, minibatch_size=16)
    ppo_update(batch, reference, None, tmp_path / "out", settings, 1, seed=0)

    def logprobs(model: Path) -> torch.Tensor:
        logits = AutoModelForCausalLM.from_pretrained(model)(torch.tensor([prompt])).logits
        return logits[0, -1].log_softmax(-1).detach()

    change = logprobs(tmp_path / "out" / "model") - logprobs(reference)
    assert change[good] > 0.05
    assert change[bad] < -0.05


def test_observation_tokens_get_no_gradient(reference: Path) -> None:
    """Whatever advantage and return the tokens of the environment had, nothing would change."""
    verl = load_verl()

    def gradient_norms(noise: float) -> list[float]:
        with verl.process_group():
            rows = verl.response_rows(random_batch(4, seed=3), 4)
            mask = rows["response_mask"]
            torch.manual_seed(0)
            rows["old_log_probs"] = rows["ref_log_prob"] = torch.full(mask.shape, -5.0)
            for key in ("values", "advantages", "returns"):
                noisy = torch.randn(mask.shape) + noise * torch.randn(mask.shape) * (1 - mask)
                rows[key] = noisy
            actor = verl.verl_workers.build_actor(reference, SETTINGS, PLAIN)
            critic = verl.verl_workers.build_critic(reference, SETTINGS, PLAIN)
            trained = [
                verl.verl_workers.train(worker, rows, SETTINGS) for worker in (actor, critic)
            ]
        return [metrics["grad_norm"][0] for metrics in trained]

    assert gradient_norms(noise=100.0) == gradient_norms(noise=0.0)


@given(st.integers(0, 2**32 - 1), st.floats(-100, 100))
def test_values_of_observations_do_not_reach_advantages(seed: int, noise: float) -> None:
    verl = load_verl()
    rows = verl.response_rows(random_batch(5, seed), 5)
    mask = rows["response_mask"].bool()
    generator = torch.Generator().manual_seed(seed)
    for key in ("values", "old_log_probs", "ref_log_prob"):
        rows[key] = torch.randn(mask.shape, generator=generator)
    disturbed = rows.clone()
    for key in ("values", "old_log_probs", "ref_log_prob"):
        disturbed[key] = torch.where(mask, rows[key], noise)
    for each in (rows, disturbed):
        verl.estimate_advantages(each, SETTINGS)
    for key in ("advantages", "returns"):
        assert torch.equal(rows[key][mask], disturbed[key][mask])


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
def test_each_epoch_visits_every_episode_once(
    minibatches: int, size: int, epochs: int, seed: int
) -> None:
    lengths = np.random.default_rng(seed).integers(1, 9, minibatches * size)
    settings = dataclasses.replace(SETTINGS, minibatch_size=size, epochs=epochs)
    order = load_verl().minibatch_order(lengths, settings, (seed, 1))
    for epoch in order.reshape(epochs, -1):
        assert sorted(epoch) == list(range(len(lengths)))
        assert (np.diff(lengths[epoch].reshape(-1, size)) >= 0).all()


def with_row(batch: UpdateBatch, **row: np.ndarray) -> UpdateBatch:
    """`batch` with some arrays of its last episode replaced."""
    return dataclasses.replace(
        batch, **{key: (*getattr(batch, key)[:-1], array) for key, array in row.items()}
    )


GOOD = random_batch(3, seed=5)
LAST_TOKENS, LAST_MASK, LAST_REWARDS = GOOD.token_ids[-1], GOOD.action_mask[-1], GOOD.rewards[-1]
NOTHING = UpdateBatch((), (), (), (), (), (), (), 1.0)


@pytest.mark.parametrize(
    ("batch", "complaint"),
    [
        (NOTHING, "no episodes"),
        (dataclasses.replace(GOOD, temperature=0.0), "temperature 0.0 is not positive"),
        (with_row(GOOD, action_mask=LAST_MASK[1:]), "episode 2: its arrays differ in length"),
        (with_row(GOOD, action_mask=LAST_MASK * 0), "episode 2 has no action token"),
        (with_row(GOOD, action_mask=LAST_MASK * 0 + 1), "episode 2 begins with an action"),
        (
            with_row(GOOD, action_mask=np.r_[LAST_MASK[:-1], np.int8(0)]),
            "episode 2 ends in an observation",
        ),
        (with_row(GOOD, token_ids=LAST_TOKENS + VOCABULARY), r"token ids outside 0\.\.255"),
        (with_row(GOOD, token_ids=LAST_TOKENS - VOCABULARY), r"token ids outside 0\.\.255"),
        (with_row(GOOD, rewards=LAST_REWARDS + 1), "rewards must be finite, and 0 off action"),
        (with_row(GOOD, rewards=LAST_REWARDS * np.nan), "rewards must be finite"),
        (with_row(GOOD, weights=LAST_REWARDS[1:]), "episode 2: its arrays differ in length"),
        (with_row(GOOD, weights=LAST_REWARDS * 0 - 1), "weights must be finite and not negative"),
    ],
)
def test_batch_that_cannot_be_trained_on_is_refused(
    batch: UpdateBatch, complaint: str, reference: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=complaint):
        ppo_update(batch, reference, None, tmp_path / "out", SETTINGS, 1, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_minibatches_must_split_into_microbatches(reference: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, microbatch_size=3)
    with pytest.raises(ValueError, match="minibatch_size 4 is no multiple of microbatch_size 3"):
        ppo_update(GOOD, reference, None, tmp_path / "out", settings, 1, seed=0)


def test_existing_checkpoint_is_not_overwritten(reference: Path, first: Path) -> None:
    with pytest.raises(ValueError, match="first is not empty"):
        ppo_update(GOOD, reference, None, first, SETTINGS, 1, seed=0)


def test_missing_previous_checkpoint_is_named(reference: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ppo_update(GOOD, reference, tmp_path / "nowhere", tmp_path / "out", SETTINGS, 2, seed=0)


def test_diverged_update_leaves_no_checkpoint(reference: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="actor: the gradient norm is no longer finite"):
        ppo_update(random_batch(8, 1), reference, None, tmp_path / "out", settings, 1, seed=0)
    assert not (tmp_path / "out").exists()


def test_interrupted_update_can_be_run_again(reference: Path, first: Path, tmp_path: Path) -> None:
    leftover = tmp_path / ".again.partial" / "verl" / "actor"
    shutil.copytree(first / "verl" / "actor", leftover)
    (leftover / "stale").write_text("")
    batch = random_batch(10, seed=1)
    ppo_update(batch, reference, None, tmp_path / "again", SETTINGS, 1, seed=0)
    assert [folder.name for folder in tmp_path.iterdir()] == ["again"]
    assert not list(tmp_path.rglob("stale"))
