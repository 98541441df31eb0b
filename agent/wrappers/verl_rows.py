"""A batch of arrays as verl's losses read it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tensordict import NonTensorData, TensorDict

from agent.core.records import SupervisedBatch, UpdateBatch


def response_rows(batch: UpdateBatch, multiple: int) -> TensorDict:
    """The batch as verl's PPO reads it: `token_rows` with a padded column for each other fact.

    Losses, whitening and metrics divide by the number of action tokens, so the rows that only fill
    a minibatch weigh nothing, and each is an episode and a group of its own.
    """
    rows = token_rows(batch, multiple)
    rows["loss_mask"] = rows["response_mask"]
    rows["rollout_log_probs"] = _of_responses(rows, batch.logprobs, torch.float32)
    rows["token_level_scores"] = _of_responses(rows, batch.rewards, torch.float32)
    rows["gradient_weights"] = _of_responses(rows, batch.weights, torch.float32)
    rows["group"] = _numbered(batch.groups, len(rows))
    rows["episode"] = _numbered(batch.episodes, len(rows))
    return rows


def first_rows(rows: TensorDict) -> torch.Tensor:
    """Whether a row is its episode's first: its scores are all that the episode earned."""
    return rows["episode"].diff(prepend=torch.tensor([-1])) != 0


def token_rows(batch: UpdateBatch | SupervisedBatch, multiple: int) -> TensorDict:
    """What any of verl's losses reads: ragged token ids, and the padded mask of responses.

    A row's prompt ends where its first action token begins; everything after, observations
    included, is its response. Rows of two masked tokens fill the batch to a `multiple`, which verl
    demands.
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
    columns: dict[str, Any] = {
        key: torch.nested.as_nested_tensor(parts, layout=torch.jagged)
        for key, parts in nested.items()
    }
    longest = max(len(response) for response in nested["responses"])
    columns["temperature"] = NonTensorData(batch.temperature)
    columns["max_response_len"] = NonTensorData(longest)
    rows = TensorDict(columns, batch_size=len(ids))
    rows["response_mask"] = _of_responses(rows, batch.action_mask, torch.long)
    return rows


def _numbered(names: Sequence[Any], count: int) -> torch.Tensor:
    """From 0 on in order of appearance; a row that only fills a minibatch has its own number."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    others = range(len(numbers), len(numbers) + count - len(names))
    return torch.tensor([*(numbers[name] for name in names), *others])


def _of_responses(rows: TensorDict, given: Sequence[np.ndarray], dtype: torch.dtype) -> Any:
    """One number per token of each episode, without its prompt's, padded with zeros."""
    column = torch.zeros(len(rows), rows["max_response_len"], dtype=dtype)
    starts = rows["prompts"].offsets().diff().tolist()
    for row, (episode, start) in enumerate(zip(given, starts, strict=False)):
        column[row, : len(episode) - start] = torch.tensor(episode[start:], dtype=dtype)
    return column
