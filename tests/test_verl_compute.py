"""How an update is computed: precision, memory, LoRA and processes, against the plain one."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from verl_toys import (
    LORA,
    SETTINGS,
    TORCHRUN,
    as_config,
    distance,
    logprobs_of,
    random_batch,
    run_toys,
    weights,
)

from agent.core.records import RolloutCorrection, UpdateSettings
from agent.wrappers.verl_wrapper import load_verl, ppo_update

WITH_LORA = UpdateSettings(lora=LORA)
CORRECTED = UpdateSettings(rollout_correction=RolloutCorrection("token", 1.5))
ALL = UpdateSettings(
    gradient_checkpointing=True,
    offload=True,
    tokens_per_process=64,
    lora=LORA,
    rollout_correction=RolloutCorrection("sequence", 2.0),
)
Run = tuple[Path, dict[str, float]]


@pytest.fixture(scope="module")
def plain(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The update as it is without any of this."""
    output = tmp_path_factory.mktemp("plain") / "out"
    return output, ppo_update(random_batch(10, 1), reference, None, output, SETTINGS, 1, 0)


@pytest.fixture(scope="module")
def adapted(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same update of adapters."""
    output = tmp_path_factory.mktemp("adapted") / "out"
    batch = random_batch(10, 1)
    return output, ppo_update(batch, reference, None, output, SETTINGS, 1, 0, WITH_LORA)


@pytest.mark.parametrize(
    "compute",
    [
        UpdateSettings(gradient_checkpointing=True),
        UpdateSettings(offload=True),
        UpdateSettings(tokens_per_process=64),
        UpdateSettings(tokens_per_process=10**6),
    ],
)
def test_saving_memory_changes_no_result(
    compute: UpdateSettings, reference: Path, plain: Run, tmp_path: Path
) -> None:
    batch = random_batch(10, seed=1)
    metrics = ppo_update(batch, reference, None, tmp_path / "out", SETTINGS, 1, 0, compute)
    assert metrics == pytest.approx(plain[1], rel=1e-5, abs=1e-6)
    assert distance(plain[0], tmp_path / "out") < 1e-5


def test_dynamic_batching_keeps_to_its_number_of_tokens(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_verl()
    from agent.wrappers import verl_engines as engines  # imports verl, so not before

    sizes: list[int] = []
    prepare = engines.ActorEngine.prepare_model_inputs

    def watched(engine: object, micro_batch: dict[str, torch.Tensor]) -> object:
        sizes.append(len(micro_batch["input_ids"].values()))
        return prepare(engine, micro_batch)

    monkeypatch.setattr(engines.ActorEngine, "prepare_model_inputs", watched)
    batch, compute = random_batch(12, seed=1), UpdateSettings(tokens_per_process=80)
    ppo_update(batch, reference, None, tmp_path / "out", SETTINGS, 1, 0, compute)
    assert max(sizes) <= 80 < max(sizes) + max(map(len, batch.token_ids))


def test_all_of_it_in_two_processes_trains_as_one_does(reference: Path, tmp_path: Path) -> None:
    one = run_toys(reference=reference, output=tmp_path / "one", config=as_config(ALL))
    two = run_toys(*TORCHRUN, reference=reference, output=tmp_path / "two", config=as_config(ALL))
    assert two == pytest.approx(one, rel=1e-4, abs=1e-5)
    assert distance(tmp_path / "one", tmp_path / "two") < 1e-5
    assert distance(tmp_path / "one", tmp_path / "two") < 0.05 * moved(reference, tmp_path / "one")


def moved(reference: Path, checkpoint: Path) -> float:
    before = load_file(reference / "model.safetensors")
    return max(float((w - before[key]).abs().max()) for key, w in weights(checkpoint).items())


@pytest.mark.parametrize("compute", [UpdateSettings(), WITH_LORA])
def test_a_saved_model_goes_on_as_if_it_had_never_been_saved(
    compute: UpdateSettings, reference: Path, tmp_path: Path
) -> None:
    """Bit for bit, whatever the actor's and the critic's second update is of."""
    verl = load_verl()
    workers = verl.verl_workers
    with verl.process_group():
        rows = verl.response_rows(random_batch(8, seed=3), 4)
        torch.manual_seed(0)
        for key in ("values", "advantages", "returns", "old_log_probs", "ref_log_prob"):
            rows[key] = torch.randn(rows["response_mask"].shape)
        for build in (workers.build_actor, workers.build_critic):
            going_on, resumed = (build(reference, SETTINGS, compute) for _ in range(2))
            folder = str(tmp_path / build.__name__)
            workers.train(going_on, rows, SETTINGS)
            going_on.save_checkpoint(folder)
            resumed.load_checkpoint(folder)
            first, second = (
                (workers.train(worker, rows, SETTINGS)["grad_norm"], state(worker))
                for worker in (going_on, resumed)
            )
            assert first[0] == second[0]
            assert first[1].keys() == second[1].keys()
            assert all(torch.equal(weight, second[1][key]) for key, weight in first[1].items())


def state(worker: object) -> dict[str, torch.Tensor]:
    module = worker.engine.module  # type: ignore[attr-defined]
    return {key: weight.full_tensor() for key, weight in module.state_dict().items()}


@pytest.mark.parametrize("lora", [None, LORA])
def test_bf16_agrees_with_fp32_and_is_written_as_such(
    lora: object, reference: Path, plain: Run, adapted: Run, tmp_path: Path
) -> None:
    compute = UpdateSettings(precision="bf16", lora=lora)  # type: ignore[arg-type]
    batch = random_batch(10, seed=1)
    metrics = ppo_update(batch, reference, None, tmp_path / "out", SETTINGS, 1, 0, compute)
    whole = (plain if lora is None else adapted)[1]
    for key in ("entropy", "mean_return", "policy_loss", "value_loss", "explained_variance"):
        assert metrics[key] == pytest.approx(whole[key], abs=0.02), key
    assert metrics["gradient_norm"] == pytest.approx(whole["gradient_norm"], rel=0.05)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out/model", dtype="auto")
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    kept = torch.load(tmp_path / "out/verl/actor/model_world_size_1_rank_0.pt", weights_only=False)
    assert {weight.dtype for weight in kept.values()} == {torch.float32}
    played = logprobs_of(tmp_path / "out/model", random_batch(8, seed=2))
    args = (SETTINGS, 2, 0, compute)
    metrics = ppo_update(played, reference, tmp_path / "out", tmp_path / "next", *args)
    assert 0 < metrics["rollout_logprob_difference"] < 0.1


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_weights_of_rollout_correction_are_truncated_ratios(level: str) -> None:
    verl = load_verl()
    rows = verl.response_rows(random_batch(5, seed=4), 5)
    mask = rows["response_mask"].bool()
    generator = torch.Generator().manual_seed(0)
    noise = 0.3 * torch.randn(mask.shape, generator=generator)
    rows["old_log_probs"] = rows["rollout_log_probs"] + noise
    metrics = verl.correct_rollout(rows, RolloutCorrection(level, 1.2))  # type: ignore[arg-type]
    log_ratio = torch.where(mask, noise, 0.0)
    if level == "sequence":
        log_ratio = log_ratio.sum(1, keepdim=True).expand_as(noise)
    expected = log_ratio.exp().clamp(max=1.2)
    torch.testing.assert_close(rows["rollout_is_weights"][mask], expected[mask])
    assert (rows["rollout_is_weights"][~mask] == 0).all()
    assert (expected[mask] == 1.2).any() and (expected[mask] < 1).any()
    assert 0 < metrics["rollout_weight"] <= 1.2


def test_equal_logprobs_need_no_correction(reference: Path, tmp_path: Path) -> None:
    batch = logprobs_of(reference, random_batch(10, seed=1))
    runs = [
        ppo_update(batch, reference, None, tmp_path / str(name), SETTINGS, 1, 0, compute)
        for name, compute in enumerate((UpdateSettings(), CORRECTED))
    ]
    assert runs[1].pop("rollout_weight") == pytest.approx(1, abs=1e-5)
    assert runs[1].pop("rollout_weight_sample_size") == pytest.approx(1, abs=1e-5)
    assert runs[1] == pytest.approx(runs[0], rel=1e-4, abs=1e-5)


def test_rollout_correction_weighs_the_policy_loss(reference: Path, tmp_path: Path) -> None:
    """Tokens a thousand times likelier than when they were sampled all get the largest weight."""
    batch = logprobs_of(reference, random_batch(10, seed=1))
    shifted = [np.float32(row - 7 * (row != 0)) for row in batch.logprobs]
    batch = dataclasses.replace(batch, logprobs=tuple(shifted))
    settings = dataclasses.replace(SETTINGS, learning_rate=1e-9, kl_coef=0.0, entropy_coef=0.0)
    metrics = [
        ppo_update(batch, reference, None, tmp_path / str(name), settings, 1, 0, compute)
        for name, compute in enumerate((UpdateSettings(), CORRECTED))
    ]
    for key in ("policy_loss", "gradient_norm"):
        assert metrics[1][key] == pytest.approx(1.5 * metrics[0][key], rel=1e-3), key
    assert metrics[1]["critic_gradient_norm"] == metrics[0]["critic_gradient_norm"]


@pytest.mark.parametrize(
    ("compute", "complaint"),
    [
        (UpdateSettings(tokens_per_process=5), r"episode 0 has \d+ tokens, but update.tokens_per"),
        (UpdateSettings(nodes=2), "update.nodes is 2, but processes run on 1"),
        (
            UpdateSettings(lora=dataclasses.replace(LORA, targets=("q_proj", "qkv"))),
            "update.lora.targets: .* has no module qkv",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused(
    compute: UpdateSettings, complaint: str, reference: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=complaint):
        ppo_update(random_batch(4, 1), reference, None, tmp_path / "x", SETTINGS, 1, 0, compute)
    assert list(tmp_path.iterdir()) == []
