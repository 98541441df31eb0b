"""PPO through verl: a batch of arrays in, a checkpoint and metrics out.

The only way into verl. Importing this module costs nothing: verl itself (about five seconds) is
imported when the first update runs.
"""

import contextlib
import functools
import gc
import io
import json
import logging
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import numpy as np

from agent.core.records import (
    LoRASettings,
    PPOSettings,
    SupervisedBatch,
    UpdateBatch,
    UpdateSettings,
)

PLAIN = UpdateSettings()


def ppo_update(
    batch: UpdateBatch,
    reference: Path,
    previous: Path | None,
    output: Path,
    settings: PPOSettings,
    iteration: int,
    seed: int,
    compute: UpdateSettings = PLAIN,
) -> dict[str, float]:
    """One PPO update (arXiv 1707.06347) of actor and, if there is one, critic, by verl 0.9.1.

    reference: Hugging Face folder of the reference policy; actor and critic start from it too.
    previous: `output` of an earlier update, to continue its weights, optimisers and schedules.
    output: folder to write, complete or not at all. `model/` is a Hugging Face folder with the
        actor's weights in `compute.precision` and the tokenizer, `verl/` what the next update
        continues from.
    iteration, seed: draw the order of the minibatches; the seed draws adapters, too.
    compute: precision, memory and LoRA; what is saved can only be continued with the same.

    Runs in every process of a `torchrun` group, or alone. With CUDA it uses all its GPUs through
    nccl; without, one thread per process through gloo, where equal arguments give equal bytes.
    Returns one row of metrics, the same in every process (norms before clipping, Kullback-Leibler
    divergences and entropy in nats per action token; NaN for what a run without a critic, or a
    critic's warm-up, does not have). Raises ValueError for arguments that cannot be trained on,
    FloatingPointError for an update that diverges.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    _check_settings(settings, compute, world_size)
    _check_tokens(batch, reference, compute.tokens_per_process)
    _check_batch(batch)
    _check_groups(batch, settings)
    _check_folders(previous, output, world_size)
    _check_adapters(previous, compute.lora)
    if previous is not None and settings.advantage == "gae":
        _check_critic(previous)
    with _quiet():
        metrics: dict[str, float] = load_verl().update(
            batch, reference, previous, output, settings, iteration, seed, compute
        )
    return metrics


def supervised_update(
    batch: SupervisedBatch,
    model: Path,
    output: Path,
    settings: PPOSettings,
    iteration: int,
    seed: int,
    compute: UpdateSettings = PLAIN,
) -> dict[str, float]:
    """Supervised fine-tuning of `model`, a Hugging Face folder, on the batch's action tokens.

    Of `settings` the learning rate, epochs, batches and optimiser count; with LoRA each update
    trains new adapters and merges them. `output`, the processes and the errors are those of
    `ppo_update`, but there is no `verl/`: another update begins with a new optimiser and with the
    exported weights, as bfloat16 has rounded them. Metrics are means per action token, in nats:
    log-likelihoods before and after, and the loss on the way.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    _check_settings(settings, compute, world_size)
    _check_tokens(batch, model, compute.tokens_per_process)
    _check_folders(None, output, world_size)
    with _quiet():
        load_verl()
        from agent.wrappers.verl_supervised import fine_tune

        return fine_tune(batch, model, output, settings, iteration, seed, compute)


@functools.cache
def load_verl() -> ModuleType:
    """`agent.wrappers.verl_update`, with verl set to the device that this machine has."""
    with _lean_imports():
        import torch
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        if not torch.cuda.is_available():
            # verl's workers ask for the platform as they are imported, so it is set before.
            from verl.plugin.platform import set_platform

            from agent.wrappers.verl_cpu import CPUPlatform

            set_platform(CPUPlatform())
        from agent.wrappers import verl_update
    return verl_update


def _check_batch(batch: UpdateBatch) -> None:
    columns = (batch.token_ids, batch.action_mask, batch.logprobs, batch.rewards, batch.weights)
    for row, (tokens, mask, logprobs, rewards, weights) in enumerate(zip(*columns, strict=True)):
        if not len(tokens) == len(mask) == len(logprobs) == len(rewards) == len(weights):
            raise ValueError(f"episode {row}: its arrays differ in length: cut all of them alike")
        if not np.isfinite(rewards).all() or rewards[mask == 0].any():
            raise ValueError(f"episode {row}: rewards must be finite, and 0 off action tokens")
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError(f"episode {row}: weights must be finite and not negative")


def _check_tokens(batch: UpdateBatch | SupervisedBatch, model: Path, longest: int | None) -> None:
    vocabulary_size = int(json.loads((model / "config.json").read_text())["vocab_size"])
    if not batch.token_ids:
        raise ValueError("the batch has no episodes: play some before updating")
    if not batch.temperature > 0:
        raise ValueError(f"temperature {batch.temperature} is not positive: sample, then train")
    for row, (tokens, mask) in enumerate(zip(batch.token_ids, batch.action_mask, strict=True)):
        if len(tokens) != len(mask):
            raise ValueError(f"episode {row}: its arrays differ in length: cut all of them alike")
        if not mask.any():
            raise ValueError(f"episode {row} has no action token: leave it out of the batch")
        if mask[0]:
            raise ValueError(f"episode {row} begins with an action token: put the prompt before it")
        if not mask[-1]:
            raise ValueError(f"episode {row} ends in an observation: cut it after its last action")
        if longest is not None and len(tokens) > longest:
            raise ValueError(
                f"episode {row} has {len(tokens)} tokens, but update.tokens_per_process is"
                f" {longest}: raise it, since no episode is divided"
            )
        if tokens.min() < 0 or tokens.max() >= vocabulary_size:
            raise ValueError(
                f"episode {row} has token ids outside 0..{vocabulary_size - 1}, the model's"
                " vocabulary: encode with the model's own tokenizer"
            )


def _check_groups(batch: UpdateBatch, settings: PPOSettings) -> None:
    """verl would take the whole return of a group's only episode for its advantage."""
    if settings.advantage not in ("grpo", "rloo"):
        return
    episodes = set(zip(batch.groups, batch.episodes, strict=True))
    for group, count in Counter(group for group, _ in episodes).items():
        if count < 2:
            raise ValueError(
                f"{group} was played once, but ppo.advantage {settings.advantage} compares episodes"
                " of one competition: play each at least twice, or choose reinforce_plus_plus"
            )


def _check_settings(settings: PPOSettings, compute: UpdateSettings, world_size: int) -> None:
    started = world_size // int(os.environ.get("LOCAL_WORLD_SIZE", str(world_size)))
    if started != compute.nodes:
        raise ValueError(
            f"update.nodes is {compute.nodes}, but processes run on {started}: start torchrun with"
            f" --nnodes {compute.nodes}"
        )
    if compute.tokens_per_process is not None:
        if settings.minibatch_size % world_size:
            raise ValueError(
                f"minibatch_size {settings.minibatch_size} is no multiple of {world_size}"
                " processes: change one of them"
            )
    elif settings.minibatch_size % (settings.microbatch_size * world_size):
        raise ValueError(
            f"minibatch_size {settings.minibatch_size} is no multiple of microbatch_size"
            f" {settings.microbatch_size} times {world_size} processes: change one of them"
        )
    if settings.critic_warmup and settings.advantage != "gae":
        raise ValueError(
            f"ppo.critic_warmup is {settings.critic_warmup}, but ppo.advantage"
            f" {settings.advantage} has no critic: set it to 0"
        )
    if not settings.dual_clip > 1:
        raise ValueError(f"ppo.dual_clip {settings.dual_clip} is not above 1: verl's is 3")


def _check_folders(previous: Path | None, output: Path, world_size: int) -> None:
    if output.is_dir() and any(output.iterdir()):
        raise ValueError(f"{output} is not empty: remove it, or write elsewhere")
    if previous is None:
        return
    recorded = previous / "verl" / "actor" / "fsdp_config.json"
    if not recorded.is_file():
        raise FileNotFoundError(
            f"{recorded}: there is none, so nothing to resume: give PPO's last checkpoint, or what"
            " supervised training wrote as the reference"
        )
    saved_by = json.loads(recorded.read_text())["world_size"]
    if saved_by != world_size:
        raise ValueError(
            f"{recorded}: world_size is {saved_by}, but {world_size} processes run now:"
            f" continue with {saved_by}, or train again from the first iteration"
        )


def _check_critic(previous: Path) -> None:
    critic = previous / "verl" / "critic"
    if not critic.is_dir():
        raise ValueError(
            f"{critic}: there is none, but ppo.advantage gae continues one:"
            " train again from the first iteration"
        )


def _check_adapters(previous: Path | None, lora: LoRASettings | None) -> None:
    if previous is None:
        return
    recorded = previous / "verl" / "lora.json"
    saved, wanted = json.loads(recorded.read_text()), lora and asdict(lora)
    if saved != json.loads(json.dumps(wanted)):  # which makes a list of a tuple
        raise ValueError(
            f"{recorded}: it was trained with {saved}, but update.lora is {wanted}: continue as it"
            " began, or train again from the first iteration"
        )


@contextlib.contextmanager
def _lean_imports() -> Iterator[None]:
    """Import without garbage collection and without scikit-learn: verl in 4.4 instead of 7 seconds.

    transformers imports scikit-learn, where it finds it, for assisted generation only.
    """
    hidden = sys.modules.setdefault("sklearn", None) is None  # type: ignore[arg-type]
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # or the next collection goes through all that was imported
        gc.enable()
        if hidden:
            del sys.modules["sklearn"]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep verl's and transformers' progress off standard output and the log; errors pass."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
