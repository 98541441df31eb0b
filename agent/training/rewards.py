"""From facts to rewards, as pure functions: an ablation re-uses every stored trajectory.

A turn earns what it adds to the best position score so far (feedback half), so that an episode's
undiscounted return is its best position score. A small ladder beneath separates kinds of failure,
and an episode without any valid submission pays for it: inaction must never be the cheap way out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.core.records import Trajectory, Turn


@dataclass(frozen=True, slots=True)
class RewardSettings:
    """Penalties are positive numbers, subtracted."""

    unparsable_penalty: float
    failure_penalty: float  # crashed, timed out, refused, no or invalid submission
    nothing_valid_penalty: float  # once per episode, on its last turn


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
            rewards[index] = -settings.failure_penalty
    if all(turn.position_score is None for turn in turns):
        rewards[-1] -= settings.nothing_valid_penalty
    return rewards


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
