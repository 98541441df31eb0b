"""Draw how the scores of single episodes are spread, for every policy."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.evaluation import captions
from agent.evaluation.figures import FigureFiles, house_style, save_figure
from agent.evaluation.inputs import read_scores
from agent.evaluation.score_figures import score_distributions


def main(
    scores: Path,
    files: tyro.conf.OmitArgPrefixes[FigureFiles],
) -> None:
    """Draw how the scores of single episodes are spread, for every policy.

    Args:
        scores: scores.csv, one row per evaluated episode.
        files: the figure and its caption, to write.
    """
    episodes = read_scores(scores)
    with house_style():
        save_figure(score_distributions(episodes), captions.score_distributions(episodes), files)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
