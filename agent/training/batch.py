"""Trajectories in, one update batch out."""

from collections.abc import Sequence

import numpy as np

from agent.core.actions import CODE_ACTIONS
from agent.core.records import Trajectory, Turn, UpdateBatch
from agent.training.rewards import RewardSettings, token_rewards
from agent.training.segments import split_segments


def update_batch(
    trajectories: Sequence[Trajectory], settings: RewardSettings, duration_aware: bool
) -> UpdateBatch:
    """Cut trailing observations, place rewards and weights, keep the order; a segment is a row.

    Raises `ValueError` when the trajectories were not all played by one policy at one temperature.
    """
    if not trajectories:
        raise ValueError("no trajectories: an update needs at least one episode")
    policies = sorted({trajectory.policy for trajectory in trajectories})
    temperatures = sorted({trajectory.temperature for trajectory in trajectories})
    if len(policies) > 1 or len(temperatures) > 1:
        raise ValueError(
            f"trajectories of different policies {policies} or temperatures {temperatures}: "
            f"one update reads the shards of one iteration"
        )
    lengths = [trajectory.turns[-1].last_token for trajectory in trajectories]
    rewards = [token_rewards(trajectory, settings) for trajectory in trajectories]
    weights = [np.ones(len(trajectory.token_ids), np.float32) for trajectory in trajectories]
    if duration_aware:
        weights = token_weights(trajectories)
    pairs = list(zip(trajectories, lengths, strict=True))
    batch = UpdateBatch(
        token_ids=tuple(t.token_ids[:n] for t, n in pairs),
        action_mask=tuple(t.action_mask[:n] for t, n in pairs),
        logprobs=tuple(t.logprobs[:n] for t, n in pairs),
        rewards=tuple(r[:n] for r, n in zip(rewards, lengths, strict=True)),
        weights=tuple(w[:n] for w, n in zip(weights, lengths, strict=True)),
        groups=tuple(t.competition for t in trajectories),
        episodes=tuple(range(len(trajectories))),
        temperature=temperatures[0],
    )
    return split_segments(batch, trajectories)


def duration_weights(trajectories: Sequence[Trajectory]) -> list[np.ndarray]:
    """Weight of each turn's gradient, (turns,) float32 per episode: its seconds over their mean.

    Duration-aware gradients of arXiv 2509.01684: where learning goes on while programs run, an
    action that takes twice as long is seen half as often, so its gradient counts twice. A turn's
    seconds are those of writing, running and grading, for as long kept it others from being seen.
    """
    for trajectory in trajectories:
        if any(map(_was_remembered, trajectory.turns)):
            raise ValueError(
                f"episode {trajectory.episode} of {trajectory.competition}: a program took no time,"
                " since its result was remembered: for ppo.duration_aware set"
                " sandbox.remember_programs to false"
            )
    seconds = [
        np.array(
            [turn.generate_seconds + turn.execute_seconds + turn.grade_seconds for turn in t.turns]
        )
        for t in trajectories
    ]
    mean = np.concatenate(seconds).mean()
    return [(each / mean).astype(np.float32) for each in seconds]


def _was_remembered(turn: Turn) -> bool:
    ran = turn.action in CODE_ACTIONS and turn.outcome != "refused"
    return ran and turn.execute_seconds == 0.0


def token_weights(trajectories: Sequence[Trajectory]) -> list[np.ndarray]:
    """Each turn's weight on its action tokens, (tokens,) float32 per episode, 1 elsewhere."""
    columns = []
    for trajectory, turns in zip(trajectories, duration_weights(trajectories), strict=True):
        column = np.ones(len(trajectory.token_ids), np.float32)
        for turn, weight in zip(trajectory.turns, turns, strict=True):
            column[turn.first_token : turn.last_token] = weight
        columns.append(column)
    return columns


def summary(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """What the episodes achieved, for the metrics beside an update."""
    first = [next(iter(_attempts(trajectory)), 0.0) for trajectory in trajectories]
    executed = [turn for t in trajectories for turn in t.turns if turn.action == "execute_code"]
    valid = [turn for turn in executed if turn.position_score is not None]
    return {
        "episodes": float(len(trajectories)),
        "turns_per_episode": float(np.mean([len(t.turns) for t in trajectories])),
        "executions_per_episode": len(executed) / len(trajectories),
        "valid_rate": len(valid) / len(executed) if executed else 0.0,
        "mean_best_position": float(np.mean([t.best_position for t in trajectories])),
        "mean_first_position": float(np.mean(first)),
        # An update may learn from fewer: of its best episodes, each up to its best submission.
        "sampled_tokens": float(sum(t.action_mask.sum() for t in trajectories)),
    }


def _attempts(trajectory: Trajectory) -> list[float]:
    """Position score of each executed program, 0 where it was not valid."""
    return [
        turn.position_score or 0.0 for turn in trajectory.turns if turn.action == "execute_code"
    ]
