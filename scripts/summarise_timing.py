"""Sum up what every job noted about its time and memory: time split and totals."""

from dataclasses import asdict
from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.evaluation.files import write_csv, write_json
from agent.evaluation.time_split import cores_at_once, read_timings, split_time


def main(timings: list[Path], cores: int, time_split: Path, summary: Path) -> None:
    """Sum up the timing of a study.

    Args:
        timings: timing files, one per job, or folders of them.
        cores: cores of the study's last session; where jobs held more at once, there were more.
        time_split: CSV to write, core-seconds by rule and category.
        summary: JSON to write, wall time, time of cores and GPUs, machines, useful share, memory.
    """
    jobs = read_timings(timings)
    table, totals = split_time(jobs, max(cores, cores_at_once(jobs)))
    write_csv(time_split, table)
    write_json(summary, asdict(totals))


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
