"""The steps of one PPO update, in verl's order (verl/trainer/ppo/ray_trainer.py, `fit`).

Old and reference log-probabilities, values, KL penalty, advantages, critic, actor, checkpoint.
Only forward and backward passes are divided among the processes; every process computes the
advantages of the whole batch, because verl whitens them over all of it.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from tensordict import TensorDict
from torch import distributed
from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_and_rejection_mask
from verl.utils.tensordict_utils import index_select_tensor_dict
from verl.workers.engine_workers import TrainingWorker

from agent.core.records import PPOSettings, RolloutCorrection, UpdateBatch, UpdateSettings
from agent.wrappers import verl_workers
from agent.wrappers.verl_advantages import estimate_advantages
from agent.wrappers.verl_export import export_model
from agent.wrappers.verl_metrics import update_metrics
from agent.wrappers.verl_rows import response_rows


def update(
    batch: UpdateBatch,
    reference: Path,
    previous: Path | None,
    output: Path,
    settings: PPOSettings,
    iteration: int,
    seed: int,
    compute: UpdateSettings,
) -> dict[str, float]:
    """See `verl_wrapper.ppo_update`, which checks the arguments."""
    with process_group():
        torch.manual_seed(seed)  # draws the first weights of adapters
        rows = response_rows(batch, settings.minibatch_size)
        critic = None
        if settings.advantage == "gae":
            critic = verl_workers.build_critic(reference, settings, compute)
        actor = verl_workers.build_actor(reference, settings, compute)
        if previous is not None and critic is not None:
            critic.load_checkpoint(str(previous / "verl" / "critic"))
        entropy = _add_logprobs(actor, rows, previous, compute.lora is not None)
        corrected = correct_rollout(rows, compute.rollout_correction)
        order = minibatch_order(token_counts(rows), settings, (seed, iteration))
        critic_metrics: dict[str, Any] = {}
        actor_metrics: dict[str, Any] = {}
        if critic is None:
            estimate_advantages(rows, settings)
        else:
            critic_metrics = _train_critic(critic, rows, order, settings, previous is None)
        if iteration > settings.critic_warmup:
            actor_metrics = verl_workers.train(actor, share(rows, order), settings)
        raise_if_diverged(actor=actor_metrics, critic=critic_metrics)
        resumed = {"actor": actor} if critic is None else {"actor": actor, "critic": critic}
        save(actor, resumed, reference, output, iteration, compute)
    return update_metrics(rows, entropy, actor_metrics, critic_metrics) | corrected


def _add_logprobs(
    actor: TrainingWorker, rows: TensorDict, previous: Path | None, has_adapter: bool
) -> torch.Tensor:
    """Of the actor, with its weights loaded, and of the reference policy, no third model; entropy.

    The actor is the reference until its own weights are loaded, since a new adapter adds nothing,
    and later without its adapter. It must not be asked so first: FSDP looks in its first pass for
    what is trained, and peft freezes an adapter that is off.
    """
    if previous is None or not has_adapter:
        logprobs, entropy = infer(actor, rows, "log_probs", "entropy")
        rows["old_log_probs"] = rows["ref_log_prob"] = logprobs
    if previous is not None:
        actor.load_checkpoint(str(previous / "verl" / "actor"))
        rows["old_log_probs"], entropy = infer(actor, rows, "log_probs", "entropy")
        if has_adapter:
            (rows["ref_log_prob"],) = infer(actor, rows, "log_probs", no_adapter=True)
    return entropy


def _train_critic(
    critic: TrainingWorker, rows: TensorDict, order: np.ndarray, settings: PPOSettings, is_new: bool
) -> dict[str, Any]:
    """Estimate the rows' values and with them their advantages, then train the critic on them.

    A critic that knows nothing would blame or praise tokens for where they stand in an episode;
    the actor's first steps would follow it. So a new critic sees the batch once before.
    """
    if is_new:
        _estimate_values(critic, rows, settings)
        verl_workers.train(critic, share(rows, order), settings)
    _estimate_values(critic, rows, settings)
    return verl_workers.train(critic, share(rows, order), settings)


def _estimate_values(critic: TrainingWorker, rows: TensorDict, settings: PPOSettings) -> None:
    (rows["values"],) = infer(critic, rows, "values")
    estimate_advantages(rows, settings)


def share(rows: TensorDict, order: np.ndarray) -> TensorDict:
    """This process's rows of every minibatch."""
    return index_select_tensor_dict(rows, torch.from_numpy(order[_rank() :: _world_size()]))


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Join torchrun's group, or make one of this process alone (port 0: any free one).

    Within a group there is already it stays: torchrun's cannot be joined a second time.
    """
    if distributed.is_initialized():
        yield
        return
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    for name, setting in {**alone, "MASTER_PORT": "0"}.items():
        os.environ.setdefault(name, setting)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("cpu:gloo,cuda:nccl")
    else:
        torch.set_num_threads(1)
        distributed.init_process_group("gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def correct_rollout(rows: TensorDict, correction: RolloutCorrection | None) -> dict[str, float]:
    """Add `rollout_is_weights`, by which verl's policy loss multiplies each token's; metrics.

    A weight is the probability that the trained model gives to what was sampled over that of the
    model that sampled, which other software and precision make differ, cut at the threshold.
    """
    if correction is None:
        return {}
    weights: Any
    weights, _, metrics = compute_rollout_correction_and_rejection_mask(
        rows["old_log_probs"],
        rows["rollout_log_probs"],
        rows["response_mask"],
        rollout_is=correction.level,
        rollout_is_threshold=correction.threshold,
    )
    rows["rollout_is_weights"] = weights.batch["rollout_is_weights"]
    return {
        "rollout_weight": metrics["rollout_corr/rollout_is_mean"],
        "rollout_weight_sample_size": metrics["rollout_corr/rollout_is_eff_sample_size"],
    }


def minibatch_order(
    lengths: np.ndarray, settings: PPOSettings, seed: tuple[int, int]
) -> np.ndarray:
    """Row numbers of all epochs' minibatches, one after the other, each epoch a permutation.

    Rows are drawn into minibatches at random, whatever the number of processes; within one they
    are sorted by length, so that a forward pass pads little.
    """
    rng = np.random.default_rng(seed)
    epochs = [rng.permutation(len(lengths)) for _ in range(settings.epochs)]
    minibatches = np.concatenate(epochs).reshape(-1, settings.minibatch_size)
    by_length = np.argsort(lengths[minibatches], axis=1, kind="stable")
    return np.take_along_axis(minibatches, by_length, axis=1).ravel()


def infer(
    worker: TrainingWorker, rows: TensorDict, *keys: str, no_adapter: bool = False
) -> list[torch.Tensor]:
    """Ask a model about every row; each process takes its share, sorted to pad little."""
    order = torch.from_numpy(np.argsort(token_counts(rows), kind="stable"))
    mine = index_select_tensor_dict(rows, order[_rank() :: _world_size()])
    answers = verl_workers.infer(worker, mine, *keys, no_adapter=no_adapter)
    return [_gather(answer, order) for answer in answers]


def _gather(part: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """All rows from the processes' parts, of which number r holds rows order[r::world_size]."""
    parts = [torch.empty_like(part) for _ in range(_world_size())]
    distributed.all_gather(parts, part.contiguous())
    whole = torch.empty(len(order), part.shape[1])
    for rank, rows in enumerate(parts):
        whole[order[rank :: _world_size()]] = rows
    return whole


def save(
    actor: TrainingWorker,
    resumed: Mapping[str, TrainingWorker],
    reference: Path,
    output: Path,
    iteration: int,
    compute: UpdateSettings,
) -> None:
    """The actor as a model, and of each worker that an update will resume all that it needs."""
    partial = output.with_name(f".{output.name}.partial")
    if _rank() == 0 and partial.exists():
        shutil.rmtree(partial)
    distributed.barrier()
    try:
        for name, worker in resumed.items():
            worker.save_checkpoint(str(partial / "verl" / name), global_step=iteration)
        if resumed and _rank() == 0:
            lora = json.dumps(compute.lora and asdict(compute.lora))
            (partial / "verl" / "lora.json").write_text(lora + "\n")
        export_model(actor, reference, partial / "model", compute)
    except (OSError, RuntimeError, SafetensorError) as full:  # as torch and safetensors say it
        shutil.rmtree(partial, ignore_errors=True)
        raise OSError(f"{output}: cannot be written: {full}") from full
    distributed.barrier()
    if _rank() == 0:
        partial.replace(output)
    distributed.barrier()


def raise_if_diverged(**metrics: dict[str, Any]) -> None:
    for name, steps in metrics.items():
        if steps and not np.isfinite(steps["grad_norm"]).all():
            raise FloatingPointError(
                f"{name}: the gradient norm is no longer finite: lower its learning rate"
            )


def token_counts(rows: TensorDict) -> np.ndarray:
    return rows["input_ids"].offsets().diff().numpy()


def _rank() -> int:
    return distributed.get_rank()


def _world_size() -> int:
    return distributed.get_world_size()
