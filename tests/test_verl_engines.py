"""The engine that GPUs use, on a CPU: it learns what the CPU's own does, few logits at a time."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from verl_toys import (
    LORA,
    SETTINGS,
    TORCHRUN,
    VOCABULARY,
    as_config,
    difference,
    gpu_engine,
    imitated,
    random_batch,
    run_toys,
    write_tiny_model,
)

from agent.core.records import LoRASettings, UpdateSettings
from agent.wrappers.verl_wrapper import PLAIN, load_verl, ppo_update, supervised_update

ACTOR_ALONE = dataclasses.replace(SETTINGS, advantage="grpo", learning_rate=2e-3)
DYNAMIC = UpdateSettings(gradient_checkpointing=True, tokens_per_process=80)
Metrics = dict[str, float]


def on_both(
    reference: Path, folder: Path, compute: UpdateSettings, updates: int = 2
) -> tuple[Metrics, Metrics]:
    """Updates by each engine, each going on from the one before; metrics of the last ones."""
    metrics = {}
    for engine in ("cpu", "gpu"):
        previous = None
        for iteration in range(1, updates + 1):
            batch = random_batch(10, seed=iteration, temperature=0.8)
            output = folder / f"{engine}{iteration}"
            args = (batch, reference, previous, output, ACTOR_ALONE, iteration, 0, compute)
            with gpu_engine() if engine == "gpu" else contextlib.nullcontext():
                metrics[engine] = ppo_update(*args)
            previous = output
    return metrics["cpu"], metrics["gpu"]


ON_MANY_SIDES = [(PLAIN, None, False), (DYNAMIC, None, True), (DYNAMIC, LORA, False)]


@pytest.mark.parametrize(("compute", "lora", "tied"), ON_MANY_SIDES)
def test_it_learns_in_float32_what_the_cpus_engine_does(
    compute: UpdateSettings, lora: LoRASettings | None, tied: bool, tmp_path: Path
) -> None:
    """Losses, divergences, gradients and weights of two updates, four or five passes to a step."""
    reference = write_tiny_model(tmp_path / "reference", tied)
    expected, found = on_both(reference, tmp_path, dataclasses.replace(compute, lora=lora))
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)
    assert difference(reference, tmp_path / "cpu2", tmp_path / "gpu2") < 1e-4


@pytest.mark.parametrize("lora", [None, LORA])
def test_without_padding_it_learns_the_same(
    lora: LoRASettings | None, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with flash-attention, for which the episodes of a forward pass are one row."""
    workers, batch = load_verl().verl_workers, random_batch(10, seed=1, temperature=0.8)
    rest = (ACTOR_ALONE, 1, 0, dataclasses.replace(DYNAMIC, lora=lora))
    expected = ppo_update(batch, reference, None, tmp_path / "cpu", *rest)
    described = workers._model_config

    def packed(*args: Any) -> Any:
        config = described(*args)
        object.__setattr__(config, "use_remove_padding", True)  # it is frozen
        return config

    monkeypatch.setattr(workers, "_model_config", packed)
    with gpu_engine():
        found = ppo_update(batch, reference, None, tmp_path / "gpu", *rest)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)
    assert difference(reference, tmp_path / "cpu", tmp_path / "gpu") < 1e-4


@pytest.mark.parametrize("lora", [None, LORA])
def test_bf16_is_as_close_to_float32_as_that_of_the_cpus_engine(
    lora: LoRASettings | None, reference: Path, tmp_path: Path
) -> None:
    """Adam's first steps follow signs, so bfloat16 turns a part of the small gradients' around."""
    whole = dataclasses.replace(DYNAMIC, lora=lora)
    half = dataclasses.replace(whole, precision="bf16")
    exact, _ = on_both(reference, tmp_path / "whole", whole, updates=1)
    _, found = on_both(reference, tmp_path / "half", half, updates=1)
    for name in ("policy_loss", "entropy", "gradient_norm"):
        assert found[name] == pytest.approx(exact[name], rel=0.05), name
    off, usual = (
        difference(reference, tmp_path / "whole/cpu1", tmp_path / f"half/{engine}1")
        for engine in ("gpu", "cpu")
    )
    assert off < 1.2 * usual < 0.4


def test_two_processes_learn_with_it_what_one_does_with_the_cpus(
    reference: Path, tmp_path: Path
) -> None:
    """Where its head's weights are divided, too."""
    same: Any = {"reference": reference, "config": as_config(DYNAMIC), "advantage": "grpo"}
    expected = run_toys(**same, output=tmp_path / "cpu")
    found = run_toys(*TORCHRUN, **same, output=tmp_path / "gpu", engine="gpu")
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5, nan_ok=True)
    assert difference(reference, tmp_path / "cpu", tmp_path / "gpu") < 1e-3


def test_it_imitates_as_the_cpus_engine_does(reference: Path, tmp_path: Path) -> None:
    batch, rest = imitated(random_batch(10, seed=1, temperature=0.8)), (ACTOR_ALONE, 1, 0, DYNAMIC)
    expected = supervised_update(batch, reference, tmp_path / "cpu", *rest)
    with gpu_engine():
        found = supervised_update(batch, reference, tmp_path / "gpu", *rest)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert difference(reference, tmp_path / "cpu", tmp_path / "gpu") < 1e-4


def test_it_never_holds_more_logits_than_those_of_a_chunk(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither on the way there nor, kept for it or computed again, on the way back."""
    load_verl()
    from agent.wrappers import verl_engines as engines

    shapes: list[torch.Size] = []

    def watched(tensor: torch.Tensor) -> torch.Tensor:
        shapes.append(tensor.shape)
        return tensor

    of_chunks = engines.entropy_from_logits
    monkeypatch.setattr(engines, "entropy_from_logits", lambda one: of_chunks(watched(one)))
    batch = random_batch(10, seed=1)
    with gpu_engine(chunk_tokens=7), torch.autograd.graph.saved_tensors_hooks(watched, watched):
        ppo_update(batch, reference, None, tmp_path / "out", ACTOR_ALONE, 1, 0, DYNAMIC)
    rows = [shape.numel() // VOCABULARY for shape in shapes if shape[-1:] == (VOCABULARY,)]
    asked = sum(map(len, batch.token_ids))  # inferred once; in two epochs computed twice each
    assert max(rows) == 7 and sum(rows) >= 5 * asked


def test_a_passs_gradients_are_shared_out_before_the_next(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they are put off, the whole model's wait in every process for the last pass."""
    load_verl()
    from agent.wrappers.verl_engines import ActorEngine

    shared_out: list[bool] = []
    step = ActorEngine.forward_step

    def watched(engine: Any, *args: Any, forward_only: bool, **rest: Any) -> Any:
        if not forward_only:
            gradients = [weight.grad for weight in engine.module.parameters()]
            shared_out.append(all(gradient is not None for gradient in gradients))
        return step(engine, *args, forward_only=forward_only, **rest)

    monkeypatch.setattr(ActorEngine, "forward_step", watched)
    batch, settings = random_batch(4, seed=1), dataclasses.replace(ACTOR_ALONE, epochs=1)
    ppo_update(batch, reference, None, tmp_path / "out", settings, 1, seed=0)
    assert shared_out == [False, True]  # one step of two passes
