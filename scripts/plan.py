"""Print every job that a study still needs, what it asks for, and the hours of GPUs and processors.

The hours are those that a cluster is asked for, the most that the first attempts can use.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import tyro

from agent.core.errors import one_line_errors

BLOCK = re.compile(r"^ *rule (\w+):\n((?: +\w[^\n]*\n)+)", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    rule: str
    wildcards: str
    threads: int
    gpu: int
    mem_mb: int
    runtime: int  # minutes


def main(options: tyro.conf.Positional[tuple[str, ...]] = ("--profile", "slurm")) -> None:
    """Plan a study: `plan.py -- --profile slurm --configfile config/mle_dojo.yaml`.

    Args:
        options: of Snakemake, as for the run that is planned.
    """
    command = ["snakemake", "--dry-run", "--cores", "10000", *options]  # as many as jobs ask for
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stdout}{done.stderr}")
    jobs = list(read_jobs(done.stdout))
    for job in jobs:
        print(
            f"{job.rule} {job.wildcards}".strip()
            + f": threads {job.threads}, GPUs {job.gpu}, {job.mem_mb} MB, {job.runtime} minutes"
        )
    print(f"\n{totals(jobs)}")


def read_jobs(text: str) -> Iterator[Job]:
    """The jobs of a dry-run in its order, without local ones: those alone name no time."""
    for rule, block in BLOCK.findall(text):
        lines = dict(re.findall(r"^ +(\w+): (.*)$", block, re.MULTILINE))
        asked = dict(pair.split("=", 1) for pair in lines["resources"].split(", "))
        if "runtime" not in asked:
            continue
        yield Job(
            rule,
            lines.get("wildcards", ""),
            int(lines.get("threads", 1)),
            int(asked.get("gpu", 0)),
            int(asked["mem_mb"]),
            int(asked["runtime"]),
        )


def totals(jobs: list[Job]) -> str:
    """A line for every rule, and their sum."""
    if not jobs:
        return "nothing to be done"
    table = pd.DataFrame(jobs)
    table["core_hours"] = table["threads"] * table["runtime"] / 60
    table["gpu_hours"] = table["gpu"] * table["runtime"] / 60
    rules = table.groupby("rule", sort=False)
    rows = rules.agg(
        jobs=("rule", "size"),
        threads=("threads", "max"),
        gpu=("gpu", "max"),
        mem_mb=("mem_mb", "max"),
        minutes=("runtime", "max"),
        core_hours=("core_hours", "sum"),
        gpu_hours=("gpu_hours", "sum"),
    )
    cores, gpus = table["core_hours"].sum(), table["gpu_hours"].sum()
    return (
        f"{rows.round(1).to_string()}\n\n{len(jobs)} jobs: at most {gpus:.1f} GPU-hours and "
        f"{cores:.1f} core-hours at the first attempt"
    )


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
