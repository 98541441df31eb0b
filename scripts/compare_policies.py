"""Compare the policies: scores of episodes in, tidy statistics with intervals out."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.timing import Stopwatch
from agent.evaluation.comparison import compare_competitions, compare_policies
from agent.evaluation.files import write_csv
from agent.evaluation.inputs import read_scores


def main(
    scores: Path,
    resamples: int,
    seed: int,
    statistics: Path,
    competitions: Path,
    timing: Path | None = None,
) -> None:
    """Compare the policies.

    Args:
        scores: scores.csv, one row per evaluated episode.
        resamples: bootstrap resamples of every interval.
        seed: seed of the bootstrap.
        statistics: table to write, one row per measure and interval.
        competitions: table to write, one row per competition.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("compare_policies", statistics.name)
    with stopwatch.phase("analyse"):
        table = read_scores(scores)
        write_csv(statistics, compare_policies(table, resamples, seed))
        write_csv(competitions, compare_competitions(table, resamples, seed))
    stopwatch.write(timing)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
