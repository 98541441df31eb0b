"""Draw performance profiles and the IQM of every policy."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.timing import Stopwatch
from agent.evaluation import captions
from agent.evaluation.comparison import STATISTICS_COLUMNS
from agent.evaluation.figures import house_style, save_figure
from agent.evaluation.files import read_csv, write_text
from agent.evaluation.inputs import read_scores
from agent.evaluation.score_figures import performance_profiles


def main(
    scores: Path,
    statistics: Path,
    resamples: int,
    seed: int,
    pdf: Path,
    svg: Path,
    png: Path,
    caption: Path,
    timing: Path | None = None,
) -> None:
    """Draw performance profiles and the IQM of every policy.

    Args:
        scores: scores.csv, one row per evaluated episode.
        statistics: table of measures, from compare_policies.
        resamples: bootstrap resamples of every interval.
        seed: seed of the bootstrap.
        pdf: figure to write.
        svg: the same figure.
        png: the same figure.
        caption: what it shows, with n, seeds and interval, to write.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("plot_performance_profiles", svg.name)
    with stopwatch.phase("draw"):
        episodes = read_scores(scores)
        measures = read_csv(statistics, STATISTICS_COLUMNS)
        with house_style():
            save_figure(performance_profiles(episodes, measures, resamples, seed), pdf, svg, png)
        write_text(caption, captions.performance_profiles(episodes, resamples) + "\n")
    stopwatch.write(timing)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
