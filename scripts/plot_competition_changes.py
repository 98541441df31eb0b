"""Draw base and trained scores of every held-out competition."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.evaluation import captions
from agent.evaluation.figures import FigureFiles, house_style, save_figure
from agent.evaluation.files import read_csv
from agent.evaluation.score_figures import CHANGE_COLUMNS, competition_changes


def main(
    competitions: Path,
    resamples: int,
    files: tyro.conf.OmitArgPrefixes[FigureFiles],
) -> None:
    """Draw base and trained scores of every held-out competition.

    Args:
        competitions: table of competitions, from compare_policies.
        resamples: bootstrap resamples that its intervals come from.
        files: the figure and its caption, to write.
    """
    table = read_csv(competitions, CHANGE_COLUMNS)
    with house_style():
        save_figure(
            competition_changes(table), captions.competition_changes(table, resamples), files
        )


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
