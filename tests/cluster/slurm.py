"""What the tests ask SLURM, and how they run Snakemake on it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from checkout import QUIET, SMOKE, copy_repository

# Site values: what `make cluster-check` prints, less the GPUs of a partition for other jobs.
FIRST_PART = re.compile(r"^partitions: {}\n.*?(?=^# Containers: )", re.MULTILINE | re.DOTALL)
HASTE = ["--slurm-init-seconds-before-status-checks", "5", "--latency-wait", "5"]
SMALL = ["--snakefile", "tests/cluster/Snakefile", *HASTE]
STUDY = ["--configfile", SMOKE, *HASTE]
T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """A job that ended, as SLURM's accounting tells of it."""

    number: str
    name: str
    what: str  # rule and wildcards
    state: str
    partition: str
    allocated: dict[str, str]
    minutes: int
    submitted: float
    started: float
    ended: float


def jobs(folder: Path, what: str = "") -> list[Job]:
    """Ended jobs that were sent from a folder, in the order of their numbers."""
    columns = (
        "JobID,JobName,Comment,State,Partition,AllocTRES,TimelimitRaw,Submit,Start,End,WorkDir"
    )
    # Without a beginning sacct leaves out what ended before midnight.
    when = ["--starttime=now-1days", "--endtime=now"]
    command = ["sacct", *when, "--allocations", "--noheader", "--parsable2", f"--format={columns}"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line.split("|") for line in listed.splitlines()]
    mine = [row for row in rows if Path(row[10]) == folder and row[2].startswith(what)]
    return [_job(row) for row in mine if row[9] != "Unknown"]


def _job(row: list[str]) -> Job:
    number, name, what, state, partition, tres, minutes, *times, _ = row
    allocated = dict(pair.split("=") for pair in tres.split(",") if pair)
    return Job(
        number,
        name,
        what,
        state.split()[0],
        partition,
        allocated,
        int(minutes),
        *map(_seconds, times),
    )


def _seconds(date: str) -> float:
    return 0.0 if date == "None" else datetime.fromisoformat(date).timestamp()


def queued(folder: Path, what: str = "", state: str = "") -> list[str]:
    """Numbers of the jobs from a folder that have not ended."""
    command = ["squeue", "--noheader", "--format=%i|%k|%T|%Z"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line.split("|") for line in listed.splitlines()]
    return [
        row[0]
        for row in rows
        if Path(row[3]) == folder and row[1].startswith(what) and row[2].startswith(state)
    ]


def running(folder: Path, what: str) -> list[str]:
    return queued(folder, what, "RUNNING")


def wait(condition: Callable[[], T], seconds: float) -> T:
    """What the condition gave as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} seconds in vain"
        time.sleep(0.5)
    return found


def proposed(report: str) -> str:
    """The site values that `make cluster-check` prints, as text for the profile."""
    return "partitions:" + report.rpartition("\npartitions:")[2]


def clone(folder: Path, site_values: str) -> Path:
    """A copy of the repository in which nothing but the site values is changed."""
    profile = copy_repository(folder) / "slurm/config.yaml"
    text, replaced = FIRST_PART.subn(lambda _: f"{site_values}\n\n", profile.read_text())
    assert replaced == 1
    profile.write_text(text)
    return folder


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | QUIET | {"PATH": path, "PYTHONPATH": str(folder)}


def start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """Start a command in a folder; what it prints goes to the end of output.log there."""
    with (folder / "output.log").open("a") as log:
        return subprocess.Popen(
            command, cwd=folder, env=environment(folder), stdout=log, stderr=log
        )


def call(folder: Path, *command: str) -> str:
    """Run a command that must succeed; what it prints."""
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def require_slurm() -> None:
    """These tests stop daemons and change /etc/slurm: never those of a cluster that is there."""
    if "SLURM_OF_TESTS" not in os.environ:
        raise RuntimeError("no SLURM of their own: run make test-cluster, which brings one along")
