"""Grading played episodes on the final half of the answers, from their stored submissions.

Only evaluation does this. An episode's score is the final-half position of the submission that was
best on the feedback half: what Kaggle would count, had the agent selected it by its public score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from agent.core.competition import (
    Competition,
    InvalidSubmissionError,
    UnrankableSubmissionError,
)
from agent.core.environment import grade
from agent.core.records import Trajectory, Turn

SCORE_COLUMNS = [
    "policy",
    "seed",
    "iteration",
    "group",
    "competition",
    "data_set",
    "task_type",
    "episode",
    "score",
    "first_score",
    "first_feedback_score",
    "last_score",
    "feedback_score",
    "raw_score",
    "executions",
    "valid_submissions",
    "turns",
    "stop_reason",
]


@dataclass(frozen=True, slots=True)
class Changes:
    """How today's feedback differs from what agents were told when they played."""

    submissions: int
    told_otherwise: int


def regrade(trajectory: Trajectory, competition: Competition) -> Trajectory:
    """The episode with every stored submission's feedback as `competition` would give it today.

    `competition` is open for the answers that agents are told of.
    """
    turns = tuple(_regrade_turn(turn, competition) for turn in trajectory.turns)
    return replace(trajectory, turns=turns)


def _regrade_turn(turn: Turn, competition: Competition) -> Turn:
    if turn.submission is None:
        return turn
    try:
        raw, position = grade(competition, turn.submission)
    except InvalidSubmissionError:
        return replace(turn, raw_score=None, position_score=None)
    return replace(turn, raw_score=raw, position_score=position)


def count_changes(played: Sequence[Trajectory], graded: Sequence[Trajectory]) -> Changes:
    """Compare episodes as they were played with the same ones, graded again."""
    pairs = [
        (before.position_score, after.position_score)
        for one, other in zip(played, graded, strict=True)
        for before, after in zip(one.turns, other.turns, strict=True)
        if before.submission is not None
    ]
    return Changes(len(pairs), sum(before != after for before, after in pairs))


def final_scores(
    trajectory: Trajectory, competition: Competition
) -> list[tuple[float | None, float | None]]:
    """Final-half metric and position score of each turn.

    Both are None where there is nothing valid to grade; the metric alone is where it is not finite.
    """
    scores: list[tuple[float | None, float | None]] = []
    for turn in trajectory.turns:
        if turn.position_score is None or turn.submission is None:
            scores.append((None, None))
            continue
        try:
            scores.append(grade(competition, turn.submission))
        except UnrankableSubmissionError:
            scores.append((None, 0.0))
        except InvalidSubmissionError as wrong:
            raise ValueError(
                f"{competition.name}: a submission that the feedback half accepted is refused by "
                f"the final half ({wrong}); the two halves of its answers do not match"
            ) from wrong
    return scores


def score_episode(
    trajectory: Trajectory, competition: Competition, policy: str, seed: int, iteration: int
) -> dict[str, Any]:
    """One row of scores.csv."""
    graded = final_scores(trajectory, competition)
    finals = [position for _, position in graded]
    executed = [turn.action == "execute_code" for turn in trajectory.turns]
    feedback = [turn.position_score for turn in trajectory.turns]
    valid = [i for i, value in enumerate(feedback) if value is not None]
    best = max(valid, key=lambda i: (feedback[i], -i), default=None)
    first = executed.index(True) if any(executed) else None
    return {
        "policy": policy,
        "seed": seed,
        "iteration": iteration,
        "group": competition.group,
        "competition": competition.name,
        "data_set": competition.data_set,
        "task_type": competition.task_type,
        "episode": trajectory.episode,
        "score": 0.0 if best is None else finals[best],
        "first_score": 0.0 if first is None else finals[first] or 0.0,
        "first_feedback_score": 0.0 if first is None else feedback[first] or 0.0,
        "last_score": finals[valid[-1]] if valid else 0.0,
        "feedback_score": 0.0 if best is None else feedback[best],
        "raw_score": None if best is None else graded[best][0],
        "executions": int(np.sum(executed)),
        "valid_submissions": len(valid),
        "turns": len(trajectory.turns),
        "stop_reason": trajectory.stop_reason,
    }


def score_episodes(
    trajectories: Sequence[Trajectory],
    competitions: Mapping[str, Competition],
    policy: str,
    seed: int,
    iteration: int,
) -> pd.DataFrame:
    """The scores of all episodes; `competitions` must be opened for their final half."""
    rows = [
        score_episode(t, competitions[t.competition], policy, seed, iteration) for t in trajectories
    ]
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)


def turn_rows(
    trajectories: Sequence[Trajectory], policy: str, seed: int, iteration: int, source: str
) -> pd.DataFrame:
    """One row per turn, for the action and outcome mix; `source` is training or evaluation."""
    rows = [
        {
            "policy": policy,
            "seed": seed,
            "iteration": iteration,
            "group": trajectory.group,
            "competition": trajectory.competition,
            "shard": trajectory.shard,
            "episode": trajectory.episode,
            "turn": number,
            "action": turn.action,
            "outcome": turn.outcome,
            "position_score": turn.position_score,
            "hack_attempts": len(turn.hack_attempts),
            "sandbox": trajectory.sandbox,
            "source": source,
        }
        for trajectory in trajectories
        for number, turn in enumerate(trajectory.turns)
    ]
    return pd.DataFrame(rows)
