"""Draw held-out scores against what training had used until then."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.evaluation import captions
from agent.evaluation.cost_figures import COST_METRICS, cost_against_score
from agent.evaluation.figures import FigureFiles, house_style, save_figure
from agent.evaluation.inputs import read_scores, read_training_metrics


def main(
    scores: Path,
    training_metrics: list[Path],
    resamples: int,
    seed: int,
    files: tyro.conf.OmitArgPrefixes[FigureFiles],
) -> None:
    """Draw held-out scores against what training had used until then.

    Args:
        scores: scores.csv, one row per evaluated episode.
        training_metrics: metrics.json of every PPO update.
        resamples: bootstrap resamples of every interval.
        seed: seed of the bootstrap.
        files: the figure and its caption, to write.
    """
    episodes = read_scores(scores)
    updates = read_training_metrics(training_metrics, COST_METRICS)
    with house_style():
        save_figure(
            cost_against_score(episodes, updates, resamples, seed),
            captions.cost_against_score(episodes, updates, resamples),
            files,
        )


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
