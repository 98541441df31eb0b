"""Supervised fine-tuning on episodes, by verl's training worker and its own loss (`sft_loss`)."""

from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from tensordict import TensorDict
from verl.workers.engine_workers import TrainingWorker
from verl.workers.utils.losses import sft_loss

from agent.core.records import PPOSettings, SupervisedBatch, UpdateSettings
from agent.wrappers import verl_update, verl_workers
from agent.wrappers.verl_rows import token_rows


def fine_tune(
    batch: SupervisedBatch,
    model: Path,
    output: Path,
    settings: PPOSettings,
    iteration: int,
    seed: int,
    compute: UpdateSettings,
) -> dict[str, float]:
    """See `verl_wrapper.supervised_update`, which checks the arguments."""
    with verl_update.process_group():
        torch.manual_seed(seed)  # draws the first weights of adapters
        rows = supervised_rows(batch, settings.minibatch_size)
        actor = build_learner(model, settings, compute)
        before, entropy = verl_update.infer(actor, rows, "log_probs", "entropy")
        lengths = verl_update.token_counts(rows)
        order = verl_update.minibatch_order(lengths, settings, (seed, iteration))
        steps = verl_workers.train(actor, verl_update.share(rows, order), settings)
        verl_update.raise_if_diverged(actor=steps)
        (after,) = verl_update.infer(actor, rows, "log_probs")
        verl_update.save(actor, {}, model, output, iteration, compute)  # resumed by nothing
    mask = rows["response_mask"].bool()
    measured = {
        "action_tokens": mask.sum(),
        "entropy": entropy[mask].mean(),
        "log_likelihood": before[mask].mean(),
        "log_likelihood_after": after[mask].mean(),
        "supervised_loss": np.mean(steps["loss"]),
        "gradient_norm": np.mean(steps["grad_norm"]),
    }
    return {name: float(number) for name, number in measured.items()}


def build_learner(model: Path, settings: PPOSettings, compute: UpdateSettings) -> TrainingWorker:
    """The policy with the cross-entropy of its action tokens as loss, token mean."""
    actor = verl_workers.build_actor(model, settings, compute)
    actor.set_loss_fn(partial(cast(Any, sft_loss), config=None))  # it reads no configuration
    return actor


def supervised_rows(batch: SupervisedBatch, multiple: int) -> TensorDict:
    """The batch as verl's supervised loss reads it: its mask is ragged, as long as the tokens."""
    rows = token_rows(batch, multiple)
    masks = [torch.tensor(mask, dtype=torch.long) for mask in batch.action_mask]
    masks += [torch.zeros(2, dtype=torch.long)] * (len(rows) - len(masks))
    rows["loss_mask"] = torch.nested.as_nested_tensor(masks, layout=torch.jagged)
    return rows
