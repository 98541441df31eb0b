"""Draw held-out scores against what training had used until then."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.timing import Stopwatch
from agent.evaluation import captions
from agent.evaluation.cost_figures import COST_METRICS, cost_against_score
from agent.evaluation.figures import house_style, save_figure
from agent.evaluation.files import write_text
from agent.evaluation.inputs import read_scores, read_training_metrics


def main(
    scores: Path,
    training_metrics: list[Path],
    resamples: int,
    seed: int,
    pdf: Path,
    svg: Path,
    png: Path,
    caption: Path,
    timing: Path | None = None,
) -> None:
    """Draw held-out scores against what training had used until then.

    Args:
        scores: scores.csv, one row per evaluated episode.
        training_metrics: metrics.json of every PPO update.
        resamples: bootstrap resamples of every interval.
        seed: seed of the bootstrap.
        pdf: figure to write.
        svg: the same figure.
        png: the same figure.
        caption: what it shows, with n, seeds and interval, to write.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("plot_cost_against_score", svg.name)
    with stopwatch.phase("draw"):
        episodes = read_scores(scores)
        updates = read_training_metrics(training_metrics, COST_METRICS)
        with house_style():
            save_figure(cost_against_score(episodes, updates, resamples, seed), pdf, svg, png)
        write_text(caption, captions.cost_against_score(episodes, updates, resamples) + "\n")
    stopwatch.write(timing)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
