"""What an update costs on a GPU: tokens per second, share of the peak (MFU), memory.

Random weights in the shapes of Qwen2.5 0.5B and, where memory permits, 7B with LoRA at long
contexts; the actor's gradient steps alone, after one that warms up, and then what an update asks
the actor before: log-probabilities and entropy. One process. Not among the benchmarks that run by
default: `python -m benchmarks gpu_update`.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from agent.core.records import LoRASettings, PPOSettings, UpdateBatch, UpdateSettings
from agent.wrappers.verl_wrapper import load_verl

GIB = 1 << 30


@dataclass(frozen=True)
class Case:
    """Equally long episodes, of which the last half is actions."""

    name: str
    model: Qwen2Config
    episodes: int
    tokens: int  # of each episode
    compute: UpdateSettings
    needed_gib: float  # of memory, by estimate; GPUs with less are spared


LORA = LoRASettings(
    rank=32,
    alpha=32,
    targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
)
SMALL = Qwen2Config(
    vocab_size=151_936,
    hidden_size=896,
    intermediate_size=4864,
    num_hidden_layers=24,
    num_attention_heads=14,
    num_key_value_heads=2,
    max_position_embeddings=32_768,
    tie_word_embeddings=True,
)
LARGE = Qwen2Config(
    vocab_size=152_064,
    hidden_size=3584,
    intermediate_size=18_944,
    num_hidden_layers=28,
    num_attention_heads=28,
    num_key_value_heads=4,
    max_position_embeddings=32_768,
)
CASES = (
    Case(
        "0.5B",
        SMALL,
        episodes=32,
        tokens=2048,
        compute=UpdateSettings(
            precision="bf16", gradient_checkpointing=True, tokens_per_process=8192
        ),
        needed_gib=20.0,
    ),
    Case(
        "7B-LoRA",
        LARGE,
        episodes=4,
        tokens=16_384,
        compute=UpdateSettings(
            precision="bf16", gradient_checkpointing=True, tokens_per_process=16_384, lora=LORA
        ),
        needed_gib=55.0,
    ),
    Case(
        "7B-LoRA-32k",  # all that config/qwen7b.yaml lets a process read at once
        LARGE,
        episodes=2,
        tokens=32_768,
        compute=UpdateSettings(
            precision="bf16", gradient_checkpointing=True, tokens_per_process=32_768, lora=LORA
        ),
        needed_gib=70.0,
    ),
)


def run() -> dict[str, dict[str, float]]:
    """Every case that this GPU has room for; a line for each as soon as it is done."""
    if not torch.cuda.is_available():
        raise SystemExit("error: gpu_update: torch finds no GPU (CUDA): run it where there is one")
    room, results = torch.cuda.mem_get_info()[0] / GIB, {}
    for case in CASES:
        if room < case.needed_gib:
            print(f"{case.name}: skipped: {room:.0f} GiB free, {case.needed_gib:.0f} needed")
            continue
        results[case.name] = measure(case)
        print(case.name, results[case.name], flush=True)
    return results


def measure(case: Case) -> dict[str, float]:
    """One gradient step on all episodes of a case, and one look at them, timed.

    On a CPU without peak and memory.
    """
    verl = load_verl()
    from verl.utils.flops_counter import get_device_flops  # verl is imported by now

    settings = _settings(case.episodes)
    gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder, verl.process_group():
        _write_model(case.model, Path(folder))
        rows = verl.response_rows(_batch(case), case.episodes)
        torch.manual_seed(0)
        for key in ("old_log_probs", "ref_log_prob", "advantages"):
            rows[key] = torch.randn(rows["response_mask"].shape)
        actor = verl.verl_workers.build_actor(Path(folder), settings, case.compute)
        verl.verl_workers.train(actor, rows, settings)
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        metrics = verl.verl_workers.train(actor, rows, settings)  # ends with the gradient's norm
        seconds = time.perf_counter() - started
        started = time.perf_counter()
        verl.infer(actor, rows, "log_probs", "entropy")  # ends with answers in main memory
        infer_seconds = time.perf_counter() - started
    flops = training_flops(case.model, [case.tokens] * case.episodes, case.compute.lora is not None)
    return {
        "tokens": case.episodes * case.tokens,
        "seconds": seconds,
        "tokens_per_second": case.episodes * case.tokens / seconds,
        "tokens_inferred_per_second": case.episodes * case.tokens / infer_seconds,
        "teraflops": flops / seconds / 1e12,
        "mfu": flops / seconds / get_device_flops("B") / 1e9 if gpu else float("nan"),
        "peak_gib": torch.cuda.max_memory_allocated() / GIB if gpu else float("nan"),
        "state_gib": state_bytes(case.model, case.compute.lora) / GIB,
        "gradient_norm": metrics["grad_norm"][0],
    }


def matrix_weights(model: Qwen2Config) -> dict[str, tuple[int, int, int]]:
    """Linear layers: how often there is one, its inputs, its outputs."""
    width, layers = model.hidden_size, model.num_hidden_layers
    heads = int(model.num_key_value_heads or model.num_attention_heads)
    keys = heads * width // model.num_attention_heads
    inner = model.intermediate_size
    return {
        "q_proj": (layers, width, width),
        "k_proj": (layers, width, keys),
        "v_proj": (layers, width, keys),
        "o_proj": (layers, width, width),
        "gate_proj": (layers, width, inner),
        "up_proj": (layers, width, inner),
        "down_proj": (layers, inner, width),
        "lm_head": (1, width, model.vocab_size),
    }


def training_flops(model: Qwen2Config, lengths: list[int], frozen: bool) -> float:
    """Of forward and backward passes, once each: recomputed activations are no progress.

    A linear layer takes 2 operations per weight and token forwards, 2 for the gradient of its
    input and 2 for that of its weights, which a frozen one does not need; adapters are neglected.
    Attention takes 2 matrix products forwards and 4 backwards, half of each by causality.
    """
    weights = sum(count * rows * columns for count, rows, columns in matrix_weights(model).values())
    dense = (4 if frozen else 6) * weights * sum(lengths)
    squares = sum(length**2 for length in lengths)
    return float(dense + 6 * squares * model.hidden_size * model.num_hidden_layers)


def state_bytes(model: Qwen2Config, lora: LoRASettings | None) -> int:
    """Weights, gradients and Adam's two averages in float32; a frozen model is 2 bytes a weight."""
    matrices = matrix_weights(model)
    inputs = 0 if model.tie_word_embeddings else model.vocab_size * model.hidden_size
    weights = inputs + sum(count * rows * columns for count, rows, columns in matrices.values())
    if lora is None:
        return 16 * weights
    adapters = sum(
        count * lora.rank * (rows + columns)
        for count, rows, columns in (matrices[target] for target in lora.targets)
    )
    return 2 * weights + 16 * adapters


def _write_model(model: Qwen2Config, folder: Path) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    with torch.device(device):
        made: Any = AutoModelForCausalLM.from_config(model, dtype=torch.bfloat16)
    made.save_pretrained(folder)


def _batch(case: Case) -> UpdateBatch:
    rng = np.random.default_rng(0)
    shape = (case.episodes, case.tokens)
    mask = np.zeros(shape, dtype=np.int8)
    mask[:, case.tokens // 2 :] = 1
    ids = rng.integers(0, case.model.vocab_size, shape, dtype=np.int32)
    nothing = np.zeros(shape, dtype=np.float32)
    return UpdateBatch(
        token_ids=tuple(ids),
        action_mask=tuple(mask),
        logprobs=tuple(nothing),
        rewards=tuple(nothing),
        weights=tuple(nothing + 1),
        groups=("benchmark",) * case.episodes,
        episodes=tuple(range(case.episodes)),
        temperature=1.0,
    )


def _settings(episodes: int) -> PPOSettings:
    return PPOSettings(
        advantage="gae",
        critic_warmup=0,
        duration_aware=False,
        learning_rate=1e-6,
        critic_learning_rate=1e-6,
        adam_epsilon=1e-8,
        epochs=1,
        minibatch_size=episodes,
        microbatch_size=1,
        clip_range=0.2,
        clip_range_high=0.28,
        dual_clip=3.0,
        gamma=1.0,
        gae_lambda=1.0,
        kl_in="loss",
        kl_coef=0.01,
        entropy_coef=0.0,
        gradient_clip=1.0,
    )
