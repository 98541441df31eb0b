"""Episodes whose context was cut on the way: each segment is a row of its own of the update."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from agent.core.records import Trajectory, UpdateBatch


def segment_slices(trajectory: Trajectory) -> list[slice]:
    """The rows of an episode: each from where its context begins to its last action token.

    A segment in which nothing was sampled, since the episode ended there, is no row.
    """
    ends = [*trajectory.segments[1:], len(trajectory.token_ids)]
    slices = []
    for start, end in zip(trajectory.segments, ends, strict=True):
        acted = np.flatnonzero(trajectory.action_mask[start:end])
        if len(acted):
            slices.append(slice(start, start + int(acted[-1]) + 1))
    return slices


def split_segments(batch: UpdateBatch, trajectories: Sequence[Trajectory]) -> UpdateBatch:
    """One row per segment, where `batch` has one per episode of `trajectories`, in their order.

    What an episode earns after a segment is added to that segment's last action: it came of the
    segment as well. So a row's undiscounted return is all that the episode earned from there on,
    which makes the estimate right for `gamma` 1 alone.
    """
    if all(len(trajectory.segments) == 1 for trajectory in trajectories):
        return batch
    slices = [segment_slices(trajectory) for trajectory in trajectories]
    changes: dict[str, Any] = {}
    for field in fields(batch):
        rows = getattr(batch, field.name)
        if isinstance(rows, tuple):
            changes[field.name] = tuple(
                row[part] if isinstance(row, np.ndarray) else row
                for row, parts in zip(rows, slices, strict=True)
                for part in parts
            )
    later = [
        row[part.stop :].sum()
        for row, parts in zip(batch.rewards, slices, strict=True)
        for part in parts
    ]
    rewards = [row.copy() for row in changes["rewards"]]
    for row, earned in zip(rewards, later, strict=True):
        row[-1] += earned
    return replace(batch, **changes | {"rewards": tuple(rewards)})
