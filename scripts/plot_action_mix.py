"""Draw what the policy does, and with what outcome, over PPO iterations."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.evaluation import captions
from agent.evaluation.figures import FigureFiles, house_style, save_figure
from agent.evaluation.inputs import read_turns
from agent.evaluation.process_figures import action_mix


def main(
    turns: Path,
    files: tyro.conf.OmitArgPrefixes[FigureFiles],
) -> None:
    """Draw what the policy does, and with what outcome, over PPO iterations.

    Args:
        turns: turns.csv, one row per turn of training and evaluation.
        files: the figure and its caption, to write.
    """
    table = read_turns(turns)
    with house_style():
        save_figure(action_mix(table), captions.action_mix(table), files)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
