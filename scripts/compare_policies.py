"""Compare the policies: scores of episodes in, tidy statistics with intervals out."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.evaluation.comparison import compare_competitions, compare_policies
from agent.evaluation.each_competition import measure_competitions
from agent.evaluation.files import write_csv
from agent.evaluation.inputs import Scoring, read_scores
from agent.evaluation.quantities import Comparison


def main(
    scores: Path,
    resamples: int,
    seed: int,
    planned_runs: tuple[int, ...],
    statistics: Path,
    competitions: Path,
    each_competition: Path,
    told: Scoring = "halves",
) -> None:
    """Compare the policies.

    Args:
        scores: scores.csv, one row per evaluated episode.
        resamples: bootstrap resamples of every interval.
        seed: seed of the bootstrap.
        planned_runs: training seeds that were begun; one without scores is counted as missing.
        statistics: table to write, one row per measure and interval.
        competitions: table to write, one row per competition.
        each_competition: table to write, one row per competition and measure of its episodes.
        told: the answers that agents were told of, the feedback half or as upstream all.
    """
    table = read_scores(scores)
    comparison = Comparison(table, resamples, seed, planned_runs, told)
    write_csv(statistics, compare_policies(table, resamples, seed, planned_runs, told))
    write_csv(each_competition, measure_competitions(comparison))
    write_csv(competitions, compare_competitions(table, resamples, seed, planned_runs))


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
