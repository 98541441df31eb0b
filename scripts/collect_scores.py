"""Gather the scores of all evaluations and the turns of all episodes into two tidy tables."""

from pathlib import Path

import pandas as pd
import tyro

from agent.core.errors import one_line_errors
from agent.core.records import Trajectory, updates_seen
from agent.core.timing import Stopwatch
from agent.core.trajectories import read_trajectories
from agent.evaluation.files import write_csv
from agent.grading import SCORE_COLUMNS, turn_rows

KEYS = ["policy", "seed", "iteration", "group", "competition", "episode"]


def main(
    scores: list[Path],
    turns: list[Path],
    shards: list[Path],
    all_scores: Path,
    all_turns: Path,
    staleness: int = 0,
    timing: Path | None = None,
) -> None:
    """Write the tables.

    Args:
        scores: scores.csv of every evaluation, and of the yardsticks.
        turns: turns.csv of every evaluation.
        shards: trajectory shards of every iteration.
        all_scores: the study's scores, to write.
        all_turns: the study's turns, to write.
        staleness: updates by which the policies that played lag behind the newest ones.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("collect_scores", all_scores.name)
    with stopwatch.phase("collect"):
        table = pd.concat([pd.read_csv(path) for path in scores])[SCORE_COLUMNS]
        write_csv(all_scores, table.sort_values(KEYS))
        trained = [_training_turns(read_trajectories(path), staleness) for path in shards]
        table = pd.concat([*(pd.read_csv(path) for path in turns), *trained])
        write_csv(all_turns, table.sort_values(["source", *KEYS, "shard", "turn"]))
    stopwatch.write(timing)


def _training_turns(shard: list[Trajectory], staleness: int) -> pd.DataFrame:
    """Turns of a shard, under the number of updates that the policy playing it had seen."""
    updates = updates_seen(shard[0].iteration, staleness)
    policy = "trained" if updates else "base"
    return turn_rows(shard, policy, shard[0].seed, updates, "training")


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
