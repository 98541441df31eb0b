"""Updates on a GPU against the same ones in float32; and, on any machine, the benchmark's sums."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, Qwen2Config
from verl_toys import LORA, SETTINGS, difference, random_batch, run_toys, write_tiny_model

from agent.core.records import LoRASettings, UpdateSettings
from agent.wrappers.verl_wrapper import load_verl, ppo_update
from benchmarks import gpu_update
from benchmarks.gpu_update import Case, measure, state_bytes, training_flops

HAS_GPU = torch.cuda.is_available()
TINY = Qwen2Config(
    vocab_size=512,
    hidden_size=64,
    intermediate_size=160,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
)


def on_a_gpu(test: object) -> object:
    skip = pytest.mark.skipif(not HAS_GPU, reason="torch finds no GPU (CUDA)")
    return pytest.mark.gpu(skip(test))


@on_a_gpu
@pytest.mark.parametrize("lora", [None, LORA])
def test_bf16_on_a_gpu_agrees_with_fp32(lora: LoRASettings | None, tmp_path: Path) -> None:
    reference = write_tiny_model(tmp_path / "reference")
    batch, metrics = random_batch(32, seed=1), {}
    settings = replace(SETTINGS, learning_rate=2e-3, epochs=1)  # more than what bf16 rounds away
    for precision in ("fp32", "bf16"):
        compute = UpdateSettings(precision=precision, gradient_checkpointing=True, lora=lora)  # type: ignore[arg-type]
        output = tmp_path / precision
        metrics[precision] = ppo_update(batch, reference, None, output, settings, 1, 0, compute)
        model = AutoModelForCausalLM.from_pretrained(output / "model", dtype="auto")
        wanted = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        assert {weight.dtype for weight in model.parameters()} == {wanted}
    for key in ("policy_loss", "value_loss", "entropy", "gradient_norm", "critic_gradient_norm"):
        assert metrics["bf16"][key] == pytest.approx(metrics["fp32"][key], rel=0.05), key
    assert difference(reference, tmp_path / "fp32", tmp_path / "bf16") < 0.4


@on_a_gpu
def test_fp32_on_a_gpu_agrees_with_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = write_tiny_model(tmp_path / "reference")
    here = ppo_update(random_batch(10, 1), reference, None, tmp_path / "gpu", SETTINGS, 1, 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert run_toys(reference=reference, output=tmp_path / "cpu") == pytest.approx(
        here, rel=1e-3, abs=1e-5
    )
    assert difference(reference, tmp_path / "cpu", tmp_path / "gpu") < 1e-2


@pytest.mark.parametrize(
    ("found", "installed", "precision", "told"),
    [
        (True, False, "bf16", True),
        (True, True, "bf16", False),
        (True, False, "fp32", False),  # which flash-attention cannot do
        (False, False, "bf16", False),
    ],
)
def test_an_update_on_a_gpu_says_that_flash_attention_is_missing(
    found: bool,
    installed: bool,
    precision: Literal["fp32", "bf16"],
    told: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verl = load_verl()
    capsys.readouterr()  # what verl says of itself
    with verl.process_group():
        monkeypatch.setattr(torch.cuda, "is_available", lambda: found)
        monkeypatch.setattr(verl.verl_workers, "is_flash_attn_2_available", lambda: installed)
        verl.verl_workers.say_what_is_slow(UpdateSettings(precision=precision))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == told
    assert not told or ("flash-attn is not installed: " in lines[0] and "pip install" in lines[0])


@pytest.mark.skipif(HAS_GPU, reason="here the benchmark would run")
def test_the_benchmark_says_in_one_line_that_it_needs_a_gpu() -> None:
    with pytest.raises(SystemExit, match=r"^error: gpu_update: torch finds no GPU .*there is one$"):
        gpu_update.run()


@pytest.mark.parametrize("frozen", [False, True])
def test_operations_are_those_that_torch_counts(frozen: bool) -> None:
    """Which counts attention whole, without causality, in what eager attention multiplies."""
    length, model = 96, AutoModelForCausalLM.from_config(TINY, attn_implementation="eager")
    inputs = model.get_input_embeddings()(torch.arange(length)[None]).detach().requires_grad_()
    model.requires_grad_(not frozen)
    with FlopCounterMode(display=False) as counter:
        model(inputs_embeds=inputs).logits.sum().backward()
    squares = 6 * length**2 * TINY.hidden_size * TINY.num_hidden_layers
    expected = training_flops(TINY, [length], frozen) + squares
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize("lora", [None, LORA])
def test_the_benchmark_measures_on_a_cpu_what_it_would_on_a_gpu(lora: LoRASettings | None) -> None:
    case = Case("tiny", TINY, 4, 48, UpdateSettings(tokens_per_process=96, lora=lora), 0.0)
    numbers = measure(case)
    assert numbers["tokens"] == 4 * 48 and numbers["gradient_norm"] > 0
    assert numbers["tokens_per_second"] == pytest.approx(4 * 48 / numbers["seconds"])
    assert numbers["tokens_inferred_per_second"] > 0
    flops = training_flops(TINY, [48] * 4, lora is not None)
    assert numbers["teraflops"] == pytest.approx(flops / numbers["seconds"] / 1e12)
    assert math.isnan(numbers["mfu"]) is not HAS_GPU


def test_states_are_sixteen_bytes_a_weight_or_two_for_a_frozen_one() -> None:
    for config in (TINY, replace_tied(TINY)):
        model = AutoModelForCausalLM.from_config(config)
        matrices = sum(weight.numel() for weight in model.parameters() if weight.ndim == 2)
        assert state_bytes(config, None) == 16 * matrices
        with_adapters = state_bytes(config, replace(LORA, targets=("q_proj",)))
        adapters = 3 * LORA.rank * (64 + 64)
        assert with_adapters == 2 * matrices + 16 * adapters


def replace_tied(config: Qwen2Config) -> Qwen2Config:
    return Qwen2Config(**{**config.to_dict(), "tie_word_embeddings": True})
