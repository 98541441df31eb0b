"""Episodes put together by hand: each turn is an observation of 3 tokens and an action of 4."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from agent.core.records import Message, Trajectory, Turn

OBSERVED, ACTED = 3, 4


def turn(position: float | None = None, outcome: str = "ok", **changes: Any) -> Turn:
    """An executed program; scored when it has a position."""
    made = Turn(
        action="execute_code",
        text="text",
        outcome=outcome,
        error="" if outcome == "ok" else "Error",
        observation="seen",
        raw_score=position,
        position_score=position,
        submission=None if position is None else b"id,target\n",
        generate_seconds=0.1,
        execute_seconds=0.2,
        grade_seconds=0.0,
        hack_attempts=(),
        first_token=0,
        last_token=0,
    )
    return replace(made, **changes)


def episode(turns: Sequence[Turn], **changes: Any) -> Trajectory:
    """What a token-level policy leaves behind; ends with an observation nobody answers."""
    size = OBSERVED + ACTED
    placed = tuple(
        replace(made, first_token=number * size + OBSERVED, last_token=(number + 1) * size)
        for number, made in enumerate(turns)
    )
    mask = np.array(([0] * OBSERVED + [1] * ACTED) * len(placed) + [0] * OBSERVED, dtype=np.int8)
    made = Trajectory(
        competition="wine",
        group="train",
        policy="policy",
        seed=0,
        iteration=1,
        shard=0,
        episode=0,
        messages=(Message("system", "system"), Message("user", "task")),
        turns=placed,
        token_ids=np.arange(len(mask), dtype=np.int32),
        action_mask=mask,
        logprobs=np.where(mask == 1, -np.arange(len(mask)) / 8, 0).astype(np.float32),
        temperature=1.0,
        stop_reason="max_turns",
        sandbox="limits",
    )
    return replace(made, **changes)


def spoken(turns: Sequence[Turn], **changes: Any) -> Trajectory:
    """What a policy that speaks text leaves behind: no tokens."""
    nothing = {"token_ids": np.int32([]), "action_mask": np.int8([]), "logprobs": np.float32([])}
    return replace(episode(turns, **nothing, **changes), turns=tuple(turns))
