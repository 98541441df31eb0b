"""Draw the health of PPO: returns, KL, clipping, entropy, critic."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.timing import Stopwatch
from agent.evaluation import captions, process_figures
from agent.evaluation.figures import house_style, save_figure
from agent.evaluation.files import write_text
from agent.evaluation.inputs import read_training_metrics


def main(
    training_metrics: list[Path],
    pdf: Path,
    svg: Path,
    png: Path,
    caption: Path,
    timing: Path | None = None,
) -> None:
    """Draw the health of PPO: returns, KL, clipping, entropy, critic.

    Args:
        training_metrics: metrics.json of every PPO update.
        pdf: figure to write.
        svg: the same figure.
        png: the same figure.
        caption: what it shows, with n, seeds and interval, to write.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("plot_training_metrics", svg.name)
    with stopwatch.phase("draw"):
        metrics = read_training_metrics(training_metrics, tuple(process_figures.TRAINING_METRICS))
        with house_style():
            save_figure(process_figures.training_metrics(metrics), pdf, svg, png)
        write_text(caption, captions.training_metrics(metrics) + "\n")
    stopwatch.write(timing)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
