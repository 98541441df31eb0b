"""Draw performance profiles and the IQM of every policy."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.evaluation import captions
from agent.evaluation.comparison import STATISTICS_COLUMNS
from agent.evaluation.figures import FigureFiles, house_style, save_figure
from agent.evaluation.files import read_csv
from agent.evaluation.inputs import read_scores
from agent.evaluation.score_figures import performance_profiles


def main(
    scores: Path,
    statistics: Path,
    resamples: int,
    seed: int,
    files: tyro.conf.OmitArgPrefixes[FigureFiles],
) -> None:
    """Draw performance profiles and the IQM of every policy.

    Args:
        scores: scores.csv, one row per evaluated episode.
        statistics: table of measures, from compare_policies.
        resamples: bootstrap resamples of every interval.
        seed: seed of the bootstrap.
        files: the figure and its caption, to write.
    """
    episodes = read_scores(scores)
    measures = read_csv(statistics, STATISTICS_COLUMNS)
    with house_style():
        save_figure(
            performance_profiles(episodes, measures, resamples, seed),
            captions.performance_profiles(episodes, resamples),
            files,
        )


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
