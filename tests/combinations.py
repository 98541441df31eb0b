"""Few runs in which any two options of an update meet, and two updates with the options of each."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from made_up import episode, turn
from transformers import AutoModelForCausalLM
from verl_toys import LORA, SETTINGS, VOCABULARY

from agent.core.records import RolloutCorrection, Trajectory, UpdateSettings
from agent.core.timing import Stopwatch
from agent.training import ppo, rejection_sampling
from agent.training.rejection_sampling import RFTSettings
from agent.training.rewards import RewardSettings
from agent.training.segments import segment_slices
from agent.wrappers.verl_wrapper import load_verl

Row = dict[str, Any]  # a value of each option
Pair = frozenset[tuple[str, Any]]
Metrics = dict[str, float]

OPTIONS: dict[str, Sequence[Any]] = {
    "advantage": ("gae", "grpo", "rloo", "reinforce_plus_plus", "rft"),
    "rollout_correction": (None, "token", "sequence"),
    "critic_warmup": (0, 1),
    "processes": (1, 2),
    "lora": (False, True),
    "precision": ("fp32", "bf16"),
    "kl_in": ("loss", "reward"),
    "dual_clip": (3.0, 1.5),
    "duration_aware": (False, True),
    "placement": ("turn", "trajectory"),
    "segments": ("one", "several"),
    "gradient_checkpointing": (False, True),
    "offload": (False, True),
    "tokens_per_process": (None, 48),
}


def makes_sense(row: Mapping[str, Any]) -> bool:
    """Whether an update takes these values together; the table of refusals has the others."""
    return not row.get("critic_warmup") or row.get("advantage", "gae") in ("gae", "rft")


def pairs(row: Mapping[str, Any]) -> Iterator[Pair]:
    return map(frozenset, combinations(row.items(), 2))


def all_pairs(options: Mapping[str, Sequence[Any]], allowed: Callable[[Row], bool]) -> list[Pair]:
    """Every two values of different options that may meet."""
    return [
        frozenset({(one, a), (other, b)})
        for one, other in combinations(options, 2)
        for a in options[one]
        for b in options[other]
        if allowed({one: a, other: b})
    ]


def covering(options: Mapping[str, Sequence[Any]], allowed: Callable[[Row], bool]) -> list[Row]:
    """Rows in which every two values meet, as few as come of being greedy.

    A row begins with the first two that have not met; each other option in turn takes the value
    that meets most values for the first time, the first of equals.
    """
    missing, rows = dict.fromkeys(all_pairs(options, allowed)), []
    while missing:
        row: Row = dict(next(iter(missing)))
        for option in options:
            if option in row:
                continue
            fitting = [value for value in options[option] if allowed(row | {option: value})]
            row[option] = max(
                fitting, key=lambda value: sum(p in missing for p in pairs(row | {option: value}))
            )
        for pair in pairs(row):
            missing.pop(pair, None)
        rows.append({option: row[option] for option in options})
    return rows


def play(model: Path, row: Row, seed: int) -> list[Trajectory]:
    """Ten episodes of two competitions, of random tokens with the probabilities of the model."""
    rng, network = np.random.default_rng(seed), AutoModelForCausalLM.from_pretrained(model)
    played = []
    for number in range(10):
        positions = rng.random(rng.integers(1, 4))
        turns = [
            turn(None if p < 0.2 else p, "crashed" if p < 0.2 else "ok", execute_seconds=10 * p)
            for p in positions
        ]
        several = row["segments"] == "several" and len(turns) > 1
        one = episode(
            [replace(each, text=f"{number}") for each in turns],
            competition="ab"[number % 2],
            episode=number,
            temperature=0.8,
            segments=(0, 7 * int(rng.integers(1, len(turns)))) if several else (0,),
        )
        ids = rng.integers(0, VOCABULARY, len(one.token_ids)).astype(np.int32)
        played.append(replace(one, token_ids=ids, logprobs=logprobs(network, one, ids)))
    return played


@torch.no_grad()
def logprobs(network: Any, trajectory: Trajectory, ids: np.ndarray) -> np.ndarray:
    """By transformers' plain forward passes, one for each context."""
    said = np.zeros(len(ids), np.float32)
    for part in segment_slices(trajectory):
        tokens = torch.from_numpy(ids[part]).long()
        logits = network(tokens[None]).logits[0].float() / trajectory.temperature
        of_tokens = logits.log_softmax(-1).roll(1, 0)[torch.arange(len(tokens)), tokens]
        said[part] = of_tokens.numpy() * trajectory.action_mask[part]
    return said


def update_twice(reference: Path, folder: Path, row: Row) -> list[Metrics]:
    """The first iteration and the second, which goes on from it; metrics of both."""
    first, second = folder / "1", folder / "2"
    before = update(reference, None, first, row, 1)
    return [before, update(reference, first, second, row, 2)]


def update(reference: Path, previous: Path | None, output: Path, row: Row, iteration: int) -> Any:
    player = previous / "model" if previous else reference
    correction, read = row["rollout_correction"], ("kl_in", "dual_clip", "duration_aware")
    compute = UpdateSettings(
        nodes=1,
        precision=row["precision"],
        gradient_checkpointing=row["gradient_checkpointing"],
        offload=row["offload"],
        tokens_per_process=row["tokens_per_process"],
        lora=LORA if row["lora"] else None,
        rollout_correction=RolloutCorrection(correction, 1.2) if correction else None,
    )
    settings = replace(SETTINGS, epochs=1, learning_rate=2e-3, critic_warmup=row["critic_warmup"])
    settings = replace(settings, **{option: row[option] for option in read})
    rest = (output, iteration, 0, compute, Stopwatch("train_rl", str(output)))
    trajectories = play(player, row, seed=iteration)
    if row["advantage"] == "rft":
        rft = RFTSettings(3, 0.2, 2e-3, 1)
        return rejection_sampling.train(trajectories, rft, settings, player, *rest)
    settings = replace(settings, advantage=row["advantage"])
    rewards = RewardSettings(0.1, 0.05, 0.1, 0.0, row["placement"])
    return ppo.train(trajectories, rewards, settings, reference, previous, *rest)


def main(reference: Path, output: Path, rows: str) -> None:
    """All rows one after the other, in the processes that torchrun starts, which takes long."""
    with load_verl().process_group():
        measured = [
            update_twice(reference, output / str(number), row)
            for number, row in enumerate(json.loads(rows))
        ]
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(measured))


if __name__ == "__main__":
    tyro.cli(main)
