"""Draw base and trained scores of every held-out competition."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.timing import Stopwatch
from agent.evaluation.figures import house_style, save_figure
from agent.evaluation.files import read_csv
from agent.evaluation.score_figures import competition_changes


def main(
    competitions: Path,
    pdf: Path,
    svg: Path,
    png: Path,
    timing: Path | None = None,
) -> None:
    """Draw base and trained scores of every held-out competition.

    Args:
        competitions: table of competitions, from compare_policies.
        pdf: figure to write.
        svg: the same figure.
        png: the same figure.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("plot_competition_changes", svg.name)
    with stopwatch.phase("draw"):
        table = read_csv(competitions, ("group", "competition", "base", "trained", "gain"))
        with house_style():
            save_figure(competition_changes(table), pdf, svg, png)
    stopwatch.write(timing)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
