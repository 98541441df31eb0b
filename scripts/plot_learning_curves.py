"""Draw training and held-out scores over PPO iterations."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.records import updates_seen
from agent.evaluation import captions
from agent.evaluation.figures import FigureFiles, house_style, save_figure
from agent.evaluation.inputs import Scoring, read_scores, read_training_metrics
from agent.evaluation.score_figures import learning_curves


def main(
    scores: Path,
    training_metrics: list[Path],
    resamples: int,
    seed: int,
    files: tyro.conf.OmitArgPrefixes[FigureFiles],
    staleness: int = 0,
    told: Scoring = "halves",
    scoring: Scoring = "halves",
) -> None:
    """Draw training and held-out scores over PPO iterations.

    Args:
        scores: scores.csv, one row per evaluated episode.
        training_metrics: metrics.json of every PPO update.
        resamples: bootstrap resamples of every interval.
        seed: seed of the bootstrap.
        files: the figure and its caption, to write.
        staleness: updates by which the policies that played lag behind the newest ones.
        told: the answers that agents were told of, the feedback half or as upstream all.
        scoring: the answers that judge, the final half or as upstream all.
    """
    episodes = read_scores(scores)
    updates = read_training_metrics(training_metrics, ("mean_best_position",))
    updates["seen"] = [updates_seen(iteration, staleness) for iteration in updates["iteration"]]
    with house_style():
        save_figure(
            learning_curves(episodes, updates, resamples, seed, told, scoring),
            captions.learning_curves(episodes, updates, resamples),
            files,
        )


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
