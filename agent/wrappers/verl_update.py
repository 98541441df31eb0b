"""The steps of one PPO update, in verl's order (verl/trainer/ppo/ray_trainer.py, `fit`).

Old and reference log-probabilities, values, KL penalty, advantages, critic, actor, checkpoint.
Only forward and backward passes are divided among the processes; every process computes the
advantages of the whole batch, because verl whitens them over all of it.
"""

import contextlib
import json
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
from verl.trainer.ppo import core_algos
from verl.utils.tensordict_utils import index_select_tensor_dict
from verl.workers.engine_workers import TrainingWorker

from agent.core.records import PPOSettings, UpdateBatch
from agent.wrappers import verl_workers


def update(
    batch: UpdateBatch,
    reference: Path,
    previous: Path | None,
    output: Path,
    settings: PPOSettings,
    iteration: int,
    seed: int,
) -> dict[str, float]:
    """See `verl_wrapper.ppo_update`, which checks the arguments."""
    with process_group():
        rows = response_rows(batch, settings.minibatch_size)
        critic = verl_workers.build_critic(reference, settings)
        actor = verl_workers.build_actor(reference, settings)
        # The actor is the reference policy until its own weights are loaded: no third model.
        logprobs, entropy = _infer(actor, rows, "log_probs", "entropy")
        rows["ref_log_prob"] = logprobs
        if previous is not None:
            critic.load_checkpoint(str(previous / "verl" / "critic"))
            actor.load_checkpoint(str(previous / "verl" / "actor"))
            logprobs, entropy = _infer(actor, rows, "log_probs", "entropy")
        rows["old_log_probs"] = logprobs
        order = minibatch_order(_lengths(rows), settings, (seed, iteration))
        if previous is None:
            # A critic that knows nothing would blame or praise tokens for where they stand in an
            # episode; the actor's first steps would follow it. So the critic sees the batch first.
            _estimate_values(critic, rows, settings)
            verl_workers.train(critic, _share(rows, order), settings)
        _estimate_values(critic, rows, settings)
        mine = _share(rows, order)
        critic_metrics = verl_workers.train(critic, mine, settings)
        actor_metrics = verl_workers.train(actor, mine, settings)
        _raise_if_diverged(actor=actor_metrics, critic=critic_metrics)
        _save(actor, critic, reference, output, iteration)
    return _metrics(rows, entropy, actor_metrics, critic_metrics)


def _estimate_values(critic: TrainingWorker, rows: TensorDict, settings: PPOSettings) -> None:
    (rows["values"],) = _infer(critic, rows, "values")
    estimate_advantages(rows, settings)


def _share(rows: TensorDict, order: np.ndarray) -> TensorDict:
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
    ):
        rows[key] = torch.zeros(len(ids), width, dtype=dtype)
        for row, (column, start) in enumerate(zip(columns, starts, strict=False)):
            rows[key][row, : len(column) - start] = torch.tensor(column[start:], dtype=dtype)
    rows["loss_mask"] = rows["response_mask"]
    constants = {"temperature": batch.temperature, "max_response_len": width}
    rows |= {key: NonTensorData(constant) for key, constant in constants.items()}
    return TensorDict(rows, batch_size=len(ids))


def estimate_advantages(rows: TensorDict, settings: PPOSettings) -> None:
    """Add `advantages` (whitened) and `returns`: GAE, arXiv 1506.02438.

    Observation tokens are skipped: an action token's successor is the next action token.
    """
    rows["advantages"], rows["returns"] = core_algos.compute_gae_advantage_return(
        rows["token_level_scores"],
        rows["values"],
        rows["response_mask"],
        settings.gamma,
        settings.gae_lambda,
    )


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


def _infer(worker: TrainingWorker, rows: TensorDict, *keys: str) -> list[torch.Tensor]:
    """Ask a model about every row; each process takes its share, sorted to pad little."""
    order = torch.from_numpy(np.argsort(_lengths(rows), kind="stable"))
    mine = index_select_tensor_dict(rows, order[_rank() :: _world_size()])
    return [_gather(answer, order) for answer in verl_workers.infer(worker, mine, *keys)]


def _gather(part: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """All rows from the processes' parts, of which number r holds rows order[r::world_size]."""
    parts = [torch.empty_like(part) for _ in range(_world_size())]
    distributed.all_gather(parts, part.contiguous())
    whole = torch.empty(len(order), part.shape[1])
    for rank, rows in enumerate(parts):
        whole[order[rank :: _world_size()]] = rows
    return whole


def _save(
    actor: TrainingWorker,
    critic: TrainingWorker | None,
    reference: Path,
    output: Path,
    iteration: int,
) -> None:
    partial = output.with_name(f".{output.name}.partial")
    if _rank() == 0 and partial.exists():
        shutil.rmtree(partial)
    distributed.barrier()
    try:
        for name, worker in (("actor", actor), ("critic", critic)):
            if worker is not None:
                worker.save_checkpoint(str(partial / "verl" / name), global_step=iteration)
    except (OSError, RuntimeError, SafetensorError) as full:  # as torch and safetensors say it
        shutil.rmtree(partial, ignore_errors=True)
        raise OSError(f"{output}: cannot be written: {full}") from full
    if _rank() == 0:
        exported = (partial / "verl" / "actor" / "huggingface").rename(partial / "model")
        _describe(exported, reference)
        partial.replace(output)
    distributed.barrier()


def _describe(model: Path, reference: Path) -> None:
    """Put the reference's tokenizer and configuration files beside weights that verl exported."""
    for source in reference.iterdir():
        if source.is_file() and not {".safetensors", ".bin"} & set(source.suffixes):
            shutil.copyfile(source, model / source.name)
    config = json.loads((model / "config.json").read_text())
    config.pop("torch_dtype", None)  # the name that transformers 4 gave to `dtype`
    config["dtype"] = "float32"
    (model / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _raise_if_diverged(**metrics: dict[str, Any]) -> None:
    for name, steps in metrics.items():
        if not np.isfinite(steps["grad_norm"]).all():
            raise FloatingPointError(
                f"{name}: the gradient norm is no longer finite: lower its learning rate"
            )


def _metrics(
    rows: TensorDict, entropy: torch.Tensor, actor: dict[str, Any], critic: dict[str, Any]
) -> dict[str, float]:
    """One row of numbers; means are over action tokens, or over gradient steps."""
    mask = rows["response_mask"].bool()
    old, returns = rows["old_log_probs"][mask], rows["returns"][mask]
    residuals = returns - rows["values"][mask]
    from_rollout = rows["rollout_log_probs"][mask] - old
    measured = {
        "action_tokens": mask.sum(),
        "mean_return": rows["token_level_scores"].sum() / mask.any(dim=1).sum(),
        "mean_value": rows["values"][mask].mean(),
        "advantage_std": residuals.std(correction=0),
        "explained_variance": 1 - residuals.var(correction=0) / returns.var(correction=0),
        "entropy": entropy[mask].mean(),
        "reference_kl": (old - rows["ref_log_prob"][mask]).mean(),
        "rollout_kl": from_rollout.mean(),
        "rollout_logprob_difference": from_rollout.abs().mean(),
        "policy_loss": np.mean(actor["actor/pg_loss"]),
        "approx_kl": np.mean(actor["actor/ppo_kl"]),
        "clip_fraction": np.mean(actor["actor/pg_clipfrac"]),
        "gradient_norm": np.mean(actor["grad_norm"]),
        "value_loss": np.mean(critic["critic/vf_loss"]),
        "critic_gradient_norm": np.mean(critic["grad_norm"]),
    }
    return {name: float(number) for name, number in measured.items()}


def _lengths(rows: TensorDict) -> np.ndarray:
    return rows["input_ids"].offsets().diff().numpy()


def _rank() -> int:
    return distributed.get_rank()


def _world_size() -> int:
    return distributed.get_world_size()
