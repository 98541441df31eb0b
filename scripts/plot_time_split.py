"""Draw where the core time of the study went."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.evaluation import captions, process_figures
from agent.evaluation.figures import FigureFiles, house_style, save_figure
from agent.evaluation.files import read_csv
from agent.evaluation.time_split import TIME_SPLIT_COLUMNS


def main(time_split: Path, files: tyro.conf.OmitArgPrefixes[FigureFiles]) -> None:
    """Draw where the core time of the study went.

    Args:
        time_split: core-seconds by rule and category, from summarise_timing.
        files: the figure and its caption, to write.
    """
    table = read_csv(time_split, TIME_SPLIT_COLUMNS).fillna({"rule": ""})
    with house_style():
        save_figure(process_figures.time_split(table), captions.time_split(table), files)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
