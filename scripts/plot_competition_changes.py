"""Draw base and trained scores of every held-out competition."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.timing import Stopwatch
from agent.evaluation import captions
from agent.evaluation.figures import house_style, save_figure
from agent.evaluation.files import read_csv, write_text
from agent.evaluation.score_figures import CHANGE_COLUMNS, competition_changes


def main(
    competitions: Path,
    resamples: int,
    pdf: Path,
    svg: Path,
    png: Path,
    caption: Path,
    timing: Path | None = None,
) -> None:
    """Draw base and trained scores of every held-out competition.

    Args:
        competitions: table of competitions, from compare_policies.
        resamples: bootstrap resamples that its intervals come from.
        pdf: figure to write.
        svg: the same figure.
        png: the same figure.
        caption: what it shows, with n, seeds and interval, to write.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("plot_competition_changes", svg.name)
    with stopwatch.phase("draw"):
        table = read_csv(competitions, CHANGE_COLUMNS)
        with house_style():
            save_figure(competition_changes(table), pdf, svg, png)
        write_text(caption, captions.competition_changes(table, resamples) + "\n")
    stopwatch.write(timing)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
