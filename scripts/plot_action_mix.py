"""Draw what the policy does, and with what outcome, over PPO iterations."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.timing import Stopwatch
from agent.evaluation import captions
from agent.evaluation.figures import house_style, save_figure
from agent.evaluation.files import write_text
from agent.evaluation.inputs import read_turns
from agent.evaluation.process_figures import action_mix


def main(
    turns: Path,
    pdf: Path,
    svg: Path,
    png: Path,
    caption: Path,
    timing: Path | None = None,
) -> None:
    """Draw what the policy does, and with what outcome, over PPO iterations.

    Args:
        turns: turns.csv, one row per turn of training and evaluation.
        pdf: figure to write.
        svg: the same figure.
        png: the same figure.
        caption: what it shows, with n, seeds and interval, to write.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("plot_action_mix", svg.name)
    with stopwatch.phase("draw"):
        table = read_turns(turns)
        with house_style():
            save_figure(action_mix(table), pdf, svg, png)
        write_text(caption, captions.action_mix(table) + "\n")
    stopwatch.write(timing)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
