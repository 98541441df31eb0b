"""Gather the scores of all evaluations and the turns of all episodes into two tidy tables."""

from pathlib import Path

import pandas as pd
import tyro

from agent.core.records import Trajectory
from agent.core.timing import Stopwatch
from agent.core.trajectories import read_trajectories
from agent.grading import SCORE_COLUMNS, turn_rows

KEYS = ["policy", "seed", "iteration", "group", "competition", "episode"]


def main(
    scores: list[Path],
    turns: list[Path],
    shards: list[Path],
    all_scores: Path,
    all_turns: Path,
    timing: Path | None = None,
) -> None:
    """Write the tables.

    Args:
        scores: scores.csv of every evaluation, and of the yardsticks
        turns: turns.csv of every evaluation
        shards: trajectory shards of every iteration
        all_scores: the study's scores, to write
        all_turns: the study's turns, to write
        timing: file for the record of where the time went
    """
    stopwatch = Stopwatch("collect_scores", all_scores.name)
    with stopwatch.phase("collect"):
        table = pd.concat([pd.read_csv(path) for path in scores])[SCORE_COLUMNS]
        _write(table.sort_values(KEYS), all_scores)
        trained = [_training_turns(read_trajectories(path)) for path in shards]
        table = pd.concat([*(pd.read_csv(path) for path in turns), *trained])
        _write(table.sort_values(["source", *KEYS, "turn"]), all_turns)
    stopwatch.write(timing)


def _training_turns(shard: list[Trajectory]) -> pd.DataFrame:
    """Turns of a shard, under the number of updates that the policy playing it had seen."""
    updates = shard[0].iteration - 1
    policy = "trained" if updates else "base"
    return turn_rows(shard, policy, shard[0].seed, updates, "training")


def _write(table: pd.DataFrame, path: Path) -> None:
    unfinished = path.with_name(f".{path.name}.unfinished")
    table.to_csv(unfinished, index=False, float_format="%.10g", lineterminator="\n")
    unfinished.replace(path)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
