"""Supervised fine-tuning on episodes, by verl's training worker and its own loss (`sft_loss`)."""

from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from tensordict import NonTensorData, TensorDict
from verl.workers.engine_workers import TrainingWorker
from verl.workers.utils.losses import sft_loss

from agent.core.records import PPOSettings, SupervisedBatch, UpdateSettings
from agent.wrappers import verl_update, verl_workers


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
        rows = supervised_rows(batch, settings.minibatch_size)
        actor = build_learner(model, settings, compute)
        before, entropy = verl_update.infer(actor, rows, "log_probs", "entropy")
        lengths = verl_update.token_counts(rows)
        order = verl_update.minibatch_order(lengths, settings, (seed, iteration))
        steps = verl_workers.train(actor, verl_update.share(rows, order), settings)
        verl_update.raise_if_diverged(actor=steps)
        (after,) = verl_update.infer(actor, rows, "log_probs")
        verl_update.save(actor, None, model, output, iteration, compute)
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
    """The policy with the cross-entropy of its action tokens as loss, token mean.

    Nothing is saved to resume from: each update is a fine-tuning of its own, which begins with a
    new optimiser, and the exported weights are exact.
    """
    actor = verl_workers.build_actor(model, settings, compute)
    loss, engine = cast(Any, sft_loss), cast(Any, actor.engine)
    actor.set_loss_fn(partial(loss, config=None))  # it reads no configuration
    manager = engine.checkpoint_manager
    kept = [part for part in manager.checkpoint_save_contents if part not in verl_workers.RESUME]
    manager.checkpoint_save_contents = kept
    return actor


def supervised_rows(batch: SupervisedBatch, multiple: int) -> TensorDict:
    """The batch as verl's supervised loss reads it: ragged, the loss mask as long as the tokens.

    Rows of two masked tokens fill the batch to a `multiple`; the loss divides by the number of
    action tokens, so they weigh nothing.
    """
    empty = (-len(batch.token_ids)) % multiple
    ids = [torch.tensor(row, dtype=torch.long) for row in batch.token_ids]
    ids += [torch.zeros(2, dtype=torch.long)] * empty
    masks = [torch.tensor(row, dtype=torch.long) for row in batch.action_mask]
    masks += [torch.zeros(2, dtype=torch.long)] * empty
    starts = [int(mask.argmax()) for mask in batch.action_mask] + [1] * empty
    ragged = {
        "input_ids": ids,
        "position_ids": [torch.arange(len(row)) for row in ids],
        "prompts": [row[:start] for row, start in zip(ids, starts, strict=True)],
        "responses": [row[start:] for row, start in zip(ids, starts, strict=True)],
        "loss_mask": masks,
    }
    rows = {
        key: torch.nested.as_nested_tensor(parts, layout=torch.jagged)
        for key, parts in ragged.items()
    }
    answered = [mask[start:] for mask, start in zip(masks, starts, strict=True)]
    rows["response_mask"] = torch.nn.utils.rnn.pad_sequence(answered, batch_first=True)
    constants = {
        "temperature": batch.temperature,
        "max_response_len": rows["response_mask"].shape[1],
    }
    rows |= {key: NonTensorData(constant) for key, constant in constants.items()}
    return TensorDict(rows, batch_size=len(ids))
