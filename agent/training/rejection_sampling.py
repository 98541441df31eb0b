"""Rejection-sampled fine-tuning: keep an iteration's best episodes, imitate them, play again.

The policy's own successes become its supervised training set, as in RFT (arXiv 2308.01825), which
keeps distinct correct solutions of each problem, in STaR (arXiv 2203.14465) and, as expectation
maximisation, in ReST-EM (arXiv 2312.06585). Like expert iteration, and unlike the latter two,
which train the base model anew each time, an iteration here continues from the one before.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path

import numpy as np

from agent.core.records import PPOSettings, SupervisedBatch, Trajectory, UpdateSettings
from agent.core.timing import Stopwatch
from agent.training.batch import summary
from agent.training.segments import segment_slices

# What the figure of training metrics shows and a supervised update does not have.
_NOT_MEASURED = ("mean_return", "approx_kl", "clip_fraction", "reference_kl", "explained_variance")


@dataclass(frozen=True, slots=True)
class RFTSettings:
    best_per_competition: int
    minimum_position: float  # of an episode's best submission, on the feedback half
    learning_rate: float
    epochs: int


def keep_best(trajectories: Sequence[Trajectory], settings: RFTSettings) -> list[Trajectory]:
    """The best distinct episodes of each competition, each up to its best submission.

    What an episode did after its best submission added nothing and is not imitated. Of episodes
    with the same actions one is kept, and of equally good ones the earlier. The order of the
    episodes stays. Raises `ValueError` when nothing is good enough to learn from.
    """
    shortened = [_until_best(trajectory) for trajectory in trajectories]
    by_competition: dict[str, list[int]] = defaultdict(list)
    for row in sorted(range(len(shortened)), key=lambda row: -_last_position(shortened[row])):
        by_competition[shortened[row].competition].append(row)
    kept = [
        row
        for rows in by_competition.values()
        for row in _distinct(rows, shortened)[: settings.best_per_competition]
        if _last_position(shortened[row]) >= settings.minimum_position
    ]
    if not kept:
        best = max(map(_last_position, shortened), default=0.0)
        raise ValueError(
            f"rft.minimum_position {settings.minimum_position}: no episode reached it, the best "
            f"{max(best, 0.0):.3f}: lower it"
        )
    return [shortened[row] for row in sorted(kept)]


def _distinct(rows: Sequence[int], trajectories: Sequence[Trajectory]) -> list[int]:
    """The first row of each sequence of actions, in the order given."""
    first: dict[tuple[str, ...], int] = {}
    for row in rows:
        first.setdefault(tuple(turn.text for turn in trajectories[row].turns), row)
    return list(first.values())


def _until_best(trajectory: Trajectory) -> Trajectory:
    """The episode up to its best submission, the first of equals; whole without any."""
    positions = [
        -1.0 if turn.position_score is None else turn.position_score for turn in trajectory.turns
    ]
    best = int(np.argmax(positions)) if max(positions) >= 0 else len(positions) - 1
    turns = trajectory.turns[: best + 1]
    end = turns[-1].last_token
    return replace(
        trajectory,
        turns=turns,
        token_ids=trajectory.token_ids[:end],
        action_mask=trajectory.action_mask[:end],
        logprobs=trajectory.logprobs[:end],
        segments=tuple(start for start in trajectory.segments if start < end),
    )


def _last_position(trajectory: Trajectory) -> float:
    """-1 for an episode without any valid submission, so that no threshold lets it pass."""
    position = trajectory.turns[-1].position_score
    return -1.0 if position is None else position


def supervised_batch(kept: Sequence[Trajectory]) -> SupervisedBatch:
    """Token ids and masks of episodes that end with an action; a segment is a row."""
    for trajectory in kept:
        if not len(trajectory.action_mask) or trajectory.action_mask[-1] != 1:
            raise ValueError(
                f"episode {trajectory.episode} of {trajectory.competition}: a turn does not end in "
                f"an action token; only episodes of a token-level policy can be trained on"
            )
    rows = [(trajectory, part) for trajectory in kept for part in segment_slices(trajectory)]
    return SupervisedBatch(
        token_ids=tuple(trajectory.token_ids[part] for trajectory, part in rows),
        action_mask=tuple(trajectory.action_mask[part] for trajectory, part in rows),
        temperature=kept[0].temperature,
    )


def train(
    trajectories: Sequence[Trajectory],
    settings: RFTSettings,
    ppo: PPOSettings,
    model: Path,
    output: Path,
    iteration: int,
    seed: int,
    compute: UpdateSettings,
    stopwatch: Stopwatch,
) -> dict[str, float]:
    """Imitate the best of an iteration's trajectories once; returns flat metrics.

    Batches, optimiser and clipping are PPO's; learning rate and epochs are not.
    """
    kept = keep_best(trajectories, settings)
    with stopwatch.phase("import"):
        from agent.wrappers.verl_wrapper import supervised_update  # takes seconds to import
    with stopwatch.phase("update"):
        metrics = supervised_update(
            supervised_batch(kept),
            model,
            output,
            replace(ppo, learning_rate=settings.learning_rate, epochs=settings.epochs),
            iteration,
            seed,
            compute,
        )
    selected = {
        "kept_episodes": float(len(kept)),
        "kept_position": float(np.mean([_last_position(trajectory) for trajectory in kept])),
    }
    return dict.fromkeys(_NOT_MEASURED, nan) | summary(trajectories) | selected | metrics
