"""Going on after Snakemake was killed: what it left is ended first, what works is left alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkout import QUIET, SMOKE, copy_repository, run, snakemake

TARGET = "results/smoke/base_model_executions.parquet"
RUN = [TARGET, "--cores", "2", "--configfile", SMOKE]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_repository(tmp_path)


@pytest.fixture
def working(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Snakemake that is making the base model."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | QUIET | {"PATH": path, "PYTHONPATH": str(folder)}
    started = subprocess.Popen(
        ["snakemake", *RUN], cwd=folder, env=environment, stderr=subprocess.DEVNULL
    )
    wait(lambda: programs(folder))
    yield started
    started.kill()
    for process in programs(folder):
        os.kill(process, signal.SIGKILL)


def programs(folder: Path) -> list[int]:
    """Processes that make a base model in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            here = (process / "cwd").readlink() == folder
        except OSError:
            continue
        if here and b"scripts/base_model.py" in command:
            found.append(int(process.name))
    return found


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def resume(folder: Path) -> subprocess.CompletedProcess[str]:
    return run(folder, "python", "scripts/resume.py", "--", *RUN)


def test_what_a_killed_snakemake_left_is_ended_before_anything_starts(
    folder: Path, working: subprocess.Popen[bytes]
) -> None:
    refused = resume(folder)
    assert refused.returncode == 1 and working.poll() is None
    assert f"error: Snakemake still works in {folder} (process {working.pid})" in refused.stderr
    (before,) = programs(folder)

    working.kill()
    working.wait()
    assert snakemake(folder, "--cores", "2", TARGET).returncode == 1  # the folder stays locked
    assert programs(folder) == [before]

    done = resume(folder)
    assert done.returncode == 0, done.stderr[-4000:]
    (waited,) = [line for line in done.stdout.splitlines() if line.startswith("waiting")]
    assert str(before) in waited and not programs(folder)
    assert (folder / TARGET).is_file()
    assert "1 of 1 steps (100%) done" in done.stderr  # competitions were not prepared again


def test_a_finished_study_is_resumed_without_work(folder: Path) -> None:
    name = "results/competitions/iris-log-loss-irrelevant-columns/competition.json"
    for _ in range(2):
        options = [name, "--cores", "1", "--configfile", SMOKE]
        done = run(folder, "python", "scripts/resume.py", "--", *options)
        assert done.returncode == 0 and "waiting" not in done.stdout, done.stderr
    assert "Nothing to be done" in done.stderr


@pytest.mark.parametrize("target", ["demo", "resume"])
def test_a_study_that_make_starts_may_fetch_a_model(folder: Path, target: str) -> None:
    """sbatch hands its environment on to the jobs."""
    told = run(folder, "make", "--dry-run", target, "PROFILE=slurm").stdout
    assert "OMP_NUM_THREADS=1" in told and "HF_HUB_OFFLINE" not in told
