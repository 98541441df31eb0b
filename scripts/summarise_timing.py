"""Sum up what every job noted about its time and memory: time split and totals."""

from dataclasses import asdict
from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.evaluation.files import write_csv, write_json
from agent.evaluation.time_split import read_timings, split_time


def main(timings: list[Path], cores: int, time_split: Path, summary: Path) -> None:
    """Sum up the timing of a study.

    Args:
        timings: timing files, one per job, or folders of them.
        cores: cores the study was given.
        time_split: CSV to write, core-seconds by rule and category.
        summary: JSON to write, wall time, useful share, peak memory.
    """
    table, totals = split_time(read_timings(timings), cores)
    write_csv(time_split, table)
    write_json(summary, asdict(totals))


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
