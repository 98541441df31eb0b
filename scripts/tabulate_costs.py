"""Put what scores and training cost, in tokens and seconds, beside what they brought."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import tyro

from agent.core.errors import one_line_errors
from agent.core.trajectories import read_trajectories
from agent.evaluation.cost_of_scores import PLAYED_COLUMNS, cost_table
from agent.evaluation.files import write_csv
from agent.evaluation.inputs import read_scores
from agent.evaluation.time_split import read_timings


def main(
    scores: Path,
    base: list[Path],
    trained: list[Path],
    shards: list[Path],
    jobs: list[Path],
    output: Path,
) -> None:
    """Write the table of costs.

    Args:
        scores: the study's scores, from collect_scores.
        base: episodes of the base model on held-out competitions, one file per run.
        trained: the same of the trained policies.
        shards: trajectory shards of every iteration.
        jobs: timing files of the jobs that played the shards and updated.
        output: table to write.
    """
    by_base, by_trained, in_training = map(_all_episodes, (base, trained, shards))
    played = (by_base, by_trained, in_training)
    write_csv(output, cost_table(read_scores(scores), *played, read_timings(jobs)))


def _all_episodes(paths: list[Path]) -> pd.DataFrame:
    rows = [row for path in paths for row in _episodes(path)]
    return pd.DataFrame(rows, columns=list(PLAYED_COLUMNS))


def _episodes(path: Path) -> Iterator[dict[str, Any]]:
    """One row per episode; the seed is that of the run, which evaluation's sampling builds on."""
    for trajectory in read_trajectories(path):
        yield {
            "seed": trajectory.seed,
            "sampled_tokens": int(trajectory.action_mask.sum()),
            "generate_seconds": sum(turn.generate_seconds for turn in trajectory.turns),
            "execute_seconds": sum(turn.execute_seconds for turn in trajectory.turns),
            "grade_seconds": sum(turn.grade_seconds for turn in trajectory.turns),
        }


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
