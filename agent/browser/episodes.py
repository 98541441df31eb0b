"""What the page shows of an episode: a row of the index, and the transcript of its turns.

Times are left out: they are what a machine measured, and would make equal studies differ.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from agent.browser.tokens import Tokens
from agent.core.records import Trajectory, Turn

Source = Literal["evaluation", "training", "yardsticks"]


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode and what the study says about it; `folder` and `number` are its address.

    `iteration` counts the PPO updates that the playing policy had seen, as scores.csv and
    turns.csv do. `score` and `first_score` are what only evaluation knows. A
    yardstick that was read off the leaderboards has no trajectory.
    """

    source: Source
    folder: str
    number: int
    group: str
    competition: str
    policy: str
    seed: int
    iteration: int
    score: float | None
    first_score: float | None
    trajectory: Trajectory | None
    rewards: tuple[float, ...]  # of each turn


def index_row(episode: Episode) -> dict[str, Any]:
    """The facts that the page filters, sorts and sums up by."""
    row = {
        "source": episode.source,
        "folder": episode.folder,
        "number": episode.number,
        "group": episode.group,
        "competition": episode.competition,
        "policy": episode.policy,
        "seed": episode.seed,
        "iteration": episode.iteration,
        "score": _rounded(episode.score),
        "first_score": _rounded(episode.first_score),
    }
    return row | _play(episode.trajectory, episode.rewards)


def transcript(trajectory: Trajectory, rewards: Sequence[float], tokens: Tokens) -> dict[str, Any]:
    """Everything a reader sees of one episode; every turn added an answer and an observation."""
    opening = trajectory.messages[: len(trajectory.messages) - 2 * len(trajectory.turns)]
    return {
        "checkpoint": trajectory.policy,
        "sandbox": trajectory.sandbox,
        "temperature": trajectory.temperature,
        "context": len(trajectory.token_ids),
        "opening": [[message.role, message.content] for message in opening],
        "turns": [
            _turn(trajectory, turn, reward, tokens)
            for turn, reward in zip(trajectory.turns, rewards, strict=True)
        ],
    }


def _play(trajectory: Trajectory | None, rewards: Sequence[float]) -> dict[str, Any]:
    turns = trajectory.turns if trajectory else ()
    positions = [turn.position_score for turn in turns]
    valid = [position for position in positions if position is not None]
    sampled = trajectory.logprobs[trajectory.action_mask == 1] if trajectory else np.zeros(0)
    return {
        "feedback_score": _rounded(max(valid, default=0.0)) if turns else None,
        "reward": _rounded(sum(rewards)) if turns else None,
        "executions": sum(turn.action == "execute_code" for turn in turns),
        "valid_submissions": len(valid),
        "tokens": len(sampled) or None,
        "logprob": _rounded(float(sampled.mean()), 4) if len(sampled) else None,
        "stop_reason": trajectory.stop_reason if trajectory else "",
        "actions": [turn.action for turn in turns],
        "outcomes": [turn.outcome for turn in turns],
        "errors": [turn.error for turn in turns],
        "positions": [_rounded(position, 4) for position in positions],
        "hack_attempts": sorted({attempt for turn in turns for attempt in _kinds(turn)}),
    }


def _kinds(turn: Turn) -> list[str]:
    """Attempts are recorded as `kind: detail`."""
    return [attempt.partition(":")[0] for attempt in turn.hack_attempts]


def _turn(trajectory: Trajectory, turn: Turn, reward: float, tokens: Tokens) -> dict[str, Any]:
    sampled = slice(turn.first_token, turn.last_token)
    ids = trajectory.token_ids[sampled].tolist()
    where = f"episode {trajectory.episode} of {trajectory.competition}"
    return {
        "action": turn.action,
        "outcome": turn.outcome,
        "error": turn.error,
        "text": turn.text,
        "observation": turn.observation,
        "raw_score": _rounded(turn.raw_score, 10),
        "position": _rounded(turn.position_score),
        "reward": _rounded(reward),
        "hack_attempts": list(turn.hack_attempts),
        "lengths": tokens.lengths(ids, turn.text, where) if ids else [],
        # In hundredths of a nat: a probability is right to one in a hundred, and files stay small.
        "logprobs": [_hundredths(value) for value in trajectory.logprobs[sampled].tolist()],
    }


def _hundredths(logprob: float) -> int | None:
    return round(100 * logprob) if math.isfinite(logprob) else None


def _rounded(value: float | None, digits: int = 6) -> float | None:
    """JSON has no NaN and no infinity; both are shown as no value."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), digits)
