"""The steps of one PPO update, in verl's order (verl/trainer/ppo/ray_trainer.py, `fit`).

Old and reference log-probabilities, values, KL penalty, advantages, critic, actor, checkpoint.
Only forward and backward passes are divided among the processes; every process computes the
advantages of the whole batch, because verl whitens them over all of it.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from tensordict import NonTensorData, TensorDict
from torch import distributed
from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_and_rejection_mask
from verl.utils.tensordict_utils import index_select_tensor_dict
from verl.workers.engine_workers import TrainingWorker

from agent.core.records import PPOSettings, RolloutCorrection, UpdateBatch, UpdateSettings
from agent.wrappers import verl_workers
from agent.wrappers.verl_advantages import estimate_advantages
from agent.wrappers.verl_export import export_model
from agent.wrappers.verl_metrics import update_metrics


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
        # The actor is the reference policy until its own weights are loaded, and with LoRA as long
        # as its adapter is off: no third model.
        logprobs, entropy = infer(
            actor, rows, "log_probs", "entropy", no_adapter=compute.lora is not None
        )
        rows["ref_log_prob"] = logprobs
        if previous is not None:
            if critic is not None:
                critic.load_checkpoint(str(previous / "verl" / "critic"))
            actor.load_checkpoint(str(previous / "verl" / "actor"))
            logprobs, entropy = infer(actor, rows, "log_probs", "entropy")
        rows["old_log_probs"] = logprobs
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
        save(actor, critic, reference, output, iteration, compute)
    return update_metrics(rows, entropy, actor_metrics, critic_metrics) | corrected


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
    """Join torchrun's group, or make one of this process alone (port 0: any free one)."""
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


def response_rows(batch: UpdateBatch, multiple: int) -> TensorDict:
    """The batch as verl reads it: ragged token ids, and padded columns that begin at the response.

    A row's prompt ends where its first action token begins; everything after, observations
    included, is its response. Rows of two masked tokens fill the batch to a `multiple`, which verl
    demands: losses, whitening and metrics divide by the number of action tokens, so those rows
    weigh nothing.
    """
    empty = (-len(batch.token_ids)) % multiple
    ids = [torch.tensor(row, dtype=torch.long) for row in batch.token_ids]
    ids += [torch.zeros(2, dtype=torch.long)] * empty
    starts = [int(mask.argmax()) for mask in batch.action_mask] + [1] * empty
    nested = {
        "input_ids": ids,
        "position_ids": [torch.arange(len(row)) for row in ids],
        "prompts": [row[:start] for row, start in zip(ids, starts, strict=True)],
        "responses": [row[start:] for row, start in zip(ids, starts, strict=True)],
    }
    rows = {
        key: torch.nested.as_nested_tensor(parts, layout=torch.jagged)
        for key, parts in nested.items()
    }
    width = max(len(response) for response in nested["responses"])
    for key, columns, dtype in (
        ("response_mask", batch.action_mask, torch.long),
        ("rollout_log_probs", batch.logprobs, torch.float32),
        ("token_level_scores", batch.rewards, torch.float32),
        ("gradient_weights", batch.weights, torch.float32),
    ):
        rows[key] = torch.zeros(len(ids), width, dtype=dtype)
        for row, (column, start) in enumerate(zip(columns, starts, strict=False)):
            rows[key][row, : len(column) - start] = torch.tensor(column[start:], dtype=dtype)
    rows["loss_mask"] = rows["response_mask"]
    numbers = {group: number for number, group in enumerate(dict.fromkeys(batch.groups))}
    groups = [numbers[group] for group in batch.groups]
    rows["group"] = torch.tensor(groups + [len(numbers) + number for number in range(empty)])
    constants = {"temperature": batch.temperature, "max_response_len": width}
    rows |= {key: NonTensorData(constant) for key, constant in constants.items()}
    return TensorDict(rows, batch_size=len(ids))


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
    critic: TrainingWorker | None,
    reference: Path,
    output: Path,
    iteration: int,
    compute: UpdateSettings,
) -> None:
    partial = output.with_name(f".{output.name}.partial")
    if _rank() == 0 and partial.exists():
        shutil.rmtree(partial)
    distributed.barrier()
    try:
        for name, worker in (("actor", actor), ("critic", critic)):
            if worker is not None:
                worker.save_checkpoint(str(partial / "verl" / name), global_step=iteration)
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
