"""Draw the health of PPO: returns, KL, clipping, entropy, critic."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.evaluation import captions, process_figures
from agent.evaluation.figures import FigureFiles, house_style, save_figure
from agent.evaluation.inputs import read_training_metrics


def main(
    training_metrics: list[Path],
    files: tyro.conf.OmitArgPrefixes[FigureFiles],
) -> None:
    """Draw the health of PPO: returns, KL, clipping, entropy, critic.

    Args:
        training_metrics: metrics.json of every PPO update.
        files: the figure and its caption, to write.
    """
    metrics = read_training_metrics(training_metrics, tuple(process_figures.TRAINING_METRICS))
    with house_style():
        save_figure(
            process_figures.training_metrics(metrics), captions.training_metrics(metrics), files
        )


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
