"""From facts to rewards, as pure functions: an ablation re-uses every stored trajectory.

A turn earns what it adds to the best position score so far (feedback half), so that an episode's
undiscounted return is its best position score. A small ladder beneath separates kinds of failure,
and an episode without any valid submission pays for it: inaction must never be the cheap way out.

Partial credit makes that ladder finer. arXiv 2509.01684 has a second model write print statements
into each program and pays for every one that appears. Here only what the environment itself saw
counts, because whatever a program prints or says of itself its author can make it say: that it ran
to its end, and that it left a submission to be graded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from agent.core.records import Trajectory, Turn


@dataclass(frozen=True, slots=True)
class RewardSettings:
    """Penalties are positive numbers, subtracted."""

    unparsable_penalty: float
    failure_penalty: float  # crashed, timed out, refused, no or invalid submission
    nothing_valid_penalty: float  # once per episode, on its last turn
    milestone_credit: float  # off the failure penalty, for each of two milestones reached
    placement: Literal["turn", "trajectory"]  # each where it was earned, or all on the last turn

    def __post_init__(self) -> None:
        if self.milestone_credit and not 2 * self.milestone_credit < self.failure_penalty:
            raise ValueError(
                f"rewards.milestone_credit {self.milestone_credit} is not below half of "
                f"rewards.failure_penalty {self.failure_penalty}: a failure must still cost"
            )


def turn_rewards(turns: Sequence[Turn], settings: RewardSettings) -> np.ndarray:
    """Reward of each turn, (turns,) float32."""
    rewards = np.zeros(len(turns), dtype=np.float32)
    best = 0.0
    for index, turn in enumerate(turns):
        if turn.position_score is not None:
            rewards[index] = max(0.0, turn.position_score - best)
            best = max(best, turn.position_score)
        elif turn.outcome == "unparsable":
            rewards[index] = -settings.unparsable_penalty
        elif turn.outcome != "ok":
            rewards[index] = settings.milestone_credit * milestones(turn) - settings.failure_penalty
    if all(turn.position_score is None for turn in turns):
        rewards[-1] -= settings.nothing_valid_penalty
    if settings.placement == "trajectory":
        rewards[:-1], rewards[-1] = 0.0, rewards.sum()
    return rewards


def milestones(turn: Turn) -> int:
    """How many a failed action reached: 1 for a program's end, 2 for a submission as well.

    None for a program that tried what is not its task.
    """
    if turn.hack_attempts:
        return 0
    return {"no_submission": 1, "invalid_submission": 2}.get(turn.outcome, 0)


def token_rewards(trajectory: Trajectory, settings: RewardSettings) -> np.ndarray:
    """Each turn's reward on its last action token, (tokens,) float32, zero elsewhere.

    GAE skips observation tokens (mask 0), so a reward placed on one would be lost.
    """
    rewards = np.zeros(len(trajectory.token_ids), dtype=np.float32)
    last = [turn.last_token - 1 for turn in trajectory.turns]
    if any(token < 0 or trajectory.action_mask[token] != 1 for token in last):
        raise ValueError(
            f"episode {trajectory.episode} of {trajectory.competition}: a turn does not end in an "
            f"action token; only episodes of a token-level policy can be trained on"
        )
    rewards[last] = turn_rewards(trajectory.turns, settings)
    return rewards
