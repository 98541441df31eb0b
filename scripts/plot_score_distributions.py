"""Draw how the scores of single episodes are spread, for every policy."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.timing import Stopwatch
from agent.evaluation import captions
from agent.evaluation.figures import house_style, save_figure
from agent.evaluation.files import write_text
from agent.evaluation.inputs import read_scores
from agent.evaluation.score_figures import score_distributions


def main(
    scores: Path,
    pdf: Path,
    svg: Path,
    png: Path,
    caption: Path,
    timing: Path | None = None,
) -> None:
    """Draw how the scores of single episodes are spread, for every policy.

    Args:
        scores: scores.csv, one row per evaluated episode.
        pdf: figure to write.
        svg: the same figure.
        png: the same figure.
        caption: what it shows, with n, seeds and interval, to write.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("plot_score_distributions", svg.name)
    with stopwatch.phase("draw"):
        episodes = read_scores(scores)
        with house_style():
            save_figure(score_distributions(episodes), pdf, svg, png)
        write_text(caption, captions.score_distributions(episodes) + "\n")
    stopwatch.write(timing)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
