"""A tiny model, random episodes, and an update in a process of its own, for the tests of verl."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from agent.core.records import (
    LoRASettings,
    PPOSettings,
    SupervisedBatch,
    UpdateBatch,
    UpdateSettings,
)
from agent.core.settings import read_config, section
from agent.wrappers.verl_wrapper import PLAIN, load_verl, ppo_update, supervised_update

VOCABULARY = 256
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")

SETTINGS = PPOSettings(
    advantage="gae",
    critic_warmup=0,
    duration_aware=False,
    learning_rate=2e-4,
    critic_learning_rate=1e-3,
    adam_epsilon=1e-8,
    epochs=2,
    minibatch_size=4,
    microbatch_size=2,
    clip_range=0.2,
    clip_range_high=0.28,
    dual_clip=3.0,
    gamma=0.99,
    gae_lambda=0.9,
    kl_in="loss",
    kl_coef=0.05,
    entropy_coef=0.01,
    gradient_clip=0.5,
)

LORA = LoRASettings(rank=4, alpha=8, targets=("q_proj", "v_proj", "down_proj"))


def write_tiny_model(folder: Path, tied: bool = False) -> Path:
    """A random Qwen2 with a byte-level tokenizer, whose weights are far from uniform guesses."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.1,
        tie_word_embeddings=tied,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def random_batch(episodes: int, seed: int, temperature: float = 1.0) -> UpdateBatch:
    """Episodes of one to three actions with observations between them, rewarded per action.

    Two competitions take turns.
    """
    rng = np.random.default_rng(seed)
    columns: list[tuple[np.ndarray, ...]] = []
    for _ in range(episodes):
        mask = [0] * rng.integers(3, 12)
        rewards = [0.0] * len(mask)
        for turn in range(rng.integers(1, 4)):
            observation, action = (rng.integers(1, 6) if turn else 0), rng.integers(1, 8)
            mask += [0] * observation + [1] * action
            rewards += [0.0] * (observation + action - 1) + [float(rng.random())]
        tokens = rng.integers(0, VOCABULARY, len(mask))
        logprobs = np.where(mask, rng.normal(-5, 1, len(mask)), 0)
        columns.append((np.int32(tokens), np.int8(mask), np.float32(logprobs), np.float32(rewards)))
    tokens, masks, logprobs, rewards = zip(*columns, strict=True)
    weights = tuple(np.ones(len(mask), np.float32) for mask in masks)
    groups = tuple("ab"[row % 2] for row in range(episodes))
    numbers = tuple(range(episodes))
    return UpdateBatch(tokens, masks, logprobs, rewards, weights, groups, numbers, temperature)


def imitated(batch: UpdateBatch) -> SupervisedBatch:
    """The same episodes, as what is to be learnt."""
    return SupervisedBatch(batch.token_ids, batch.action_mask, batch.temperature)


def as_config(compute: UpdateSettings) -> str:
    return json.dumps({"update": dataclasses.asdict(compute)})


def logprobs_of(model: Path, batch: UpdateBatch) -> UpdateBatch:
    """The batch with the log-probabilities that transformers' plain forward passes give."""
    loaded, columns = AutoModelForCausalLM.from_pretrained(model, dtype="auto"), []
    for tokens, mask in zip(batch.token_ids, batch.action_mask, strict=True):
        ids = torch.from_numpy(tokens).long()
        with torch.no_grad():
            logits = loaded(ids[None]).logits[0].float() / batch.temperature
        logprobs = logits.log_softmax(-1).roll(1, 0)[torch.arange(len(ids)), ids]
        columns.append(np.float32(logprobs.numpy() * mask))
    return dataclasses.replace(batch, logprobs=tuple(columns))


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "model" / "model.safetensors")


def distance(left: Path, right: Path) -> float:
    """The largest difference of one weight between two checkpoints."""
    others = weights(right)
    return max(float((weight - others[key]).abs().max()) for key, weight in weights(left).items())


def difference(reference: Path, left: Path, right: Path) -> float:
    """Between the weights of two checkpoints, over what the first has learnt since `reference`."""
    before, others = load_file(reference / "model.safetensors"), weights(right)
    learnt, off = 0.0, 0.0
    for key, weight in weights(left).items():
        learnt += float((weight.float() - before[key]).square().sum())
        off += float((weight.float() - others[key].float()).square().sum())
    return float((off / learnt) ** 0.5)


@contextlib.contextmanager
def gpu_engine(chunk_tokens: int = 7) -> Iterator[None]:
    """Actors that are built within have the engine that GPUs use, with logits of so few tokens."""
    load_verl()
    from agent.wrappers import verl_engines as engines  # imports verl, so not before

    registered = engines.EngineRegistry._engines["language_model"][engines.STRATEGY]
    before = registered["cpu"], engines.CHUNK_TOKENS
    registered["cpu"], engines.CHUNK_TOKENS = engines.GPUActorEngine, chunk_tokens
    try:
        yield
    finally:
        registered["cpu"], engines.CHUNK_TOKENS = before


def run_toys(*launcher: str, **arguments: Path | str) -> dict[str, float]:
    """The same update in new processes; returns its metrics."""
    metrics: dict[str, float] = run_script(__file__, *launcher, **arguments)
    return metrics


def run_script(script: str, *launcher: str, **arguments: Path | str) -> Any:
    """What a script of the tests, started in new processes, prints as JSON."""
    flags = [text for key, given in arguments.items() for text in (f"--{key}", str(given))]
    group = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    inherited = {key: value for key, value in os.environ.items() if key not in group}
    run = subprocess.run(
        [sys.executable, *launcher, script, *flags],
        env={**inherited, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def main(
    reference: Path,
    output: Path,
    previous: Path | None = None,
    seed: int = 0,
    config: str = "",
    advantage: Literal["gae", "grpo", "supervised"] = "gae",
    engine: Literal["cpu", "gpu"] = "cpu",
) -> None:
    """The update that the tests of verl also make in their own process."""
    iteration = 1 if previous is None else 2
    batch = random_batch(10, seed=iteration)
    compute = PLAIN
    if config:
        compute = section(read_config(config), "update", UpdateSettings)
    common = (iteration, seed, compute)
    with gpu_engine() if engine == "gpu" else contextlib.nullcontext():
        if advantage == "supervised":
            metrics = supervised_update(imitated(batch), reference, output, SETTINGS, *common)
        else:
            settings = dataclasses.replace(SETTINGS, advantage=advantage)
            metrics = ppo_update(batch, reference, previous, output, settings, *common)
    if os.environ.get("RANK", "0") == "0":
        sys.stdout.write(json.dumps(metrics) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
