"""Going on after Snakemake was killed: what it left is ended first, what works is left alone."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import QUIET, SMOKE, copy_repository, run, snakemake
from waiting import wait_for

TARGET = "results/smoke/base_model_executions.parquet"
RUN = [TARGET, "--cores", "2", "--configfile", SMOKE]
RESUME = ["python", "scripts/resume.py", "--"]
SMALL = ["results/competitions/iris-log-loss-irrelevant-columns/competition.json", *RUN[1:]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_repository(tmp_path)


def start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | QUIET | {"PATH": path, "PYTHONPATH": str(folder)}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)


@pytest.fixture
def working(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Snakemake that make resume started, and that is making the base model."""
    started = start(folder, *RESUME, *RUN)
    wait_for(lambda: programs(folder))
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


def resume(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(folder, *RESUME, *(options or RUN))


def test_what_a_killed_snakemake_left_is_ended_before_anything_starts(
    folder: Path, working: subprocess.Popen[bytes]
) -> None:
    refused = resume(folder)
    assert refused.returncode == 1 and working.poll() is None
    assert f"error: {folder} is being resumed (process {working.pid})" in refused.stderr
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
    for _ in range(2):
        done = resume(folder, *SMALL)
        assert done.returncode == 0 and "waiting" not in done.stdout, done.stderr
    assert "Nothing to be done" in done.stderr


@pytest.fixture
def leftover(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A job that does not end when it is asked to."""
    lock = folder / ".snakemake/jobs.lock"
    lock.parent.mkdir()
    job = start(folder, "sh", "-c", f"trap '' TERM; exec 9<>{lock}; flock -s 9; exec sleep 100")
    wait_for(lambda: Path(f"/proc/{job.pid}/comm").read_text() == "sleep\n")
    yield job
    job.kill()
    job.wait()


def test_who_resumes_first_is_the_only_one(folder: Path, leftover: subprocess.Popen[bytes]) -> None:
    first = start(folder, *RESUME, *SMALL)
    wait_for(lambda: is_open(first, "resume.lock"))
    second = resume(folder, *SMALL)
    assert second.returncode == 1
    assert f"error: {folder} is being resumed (process {first.pid})" in second.stderr
    assert leftover.poll() is None and first.poll() is None
    leftover.kill()
    leftover.wait()
    assert first.wait(60) == 0 and (folder / SMALL[0]).is_file()


def test_a_snakemake_that_starts_while_a_resume_waits_is_left_alone(
    folder: Path, leftover: subprocess.Popen[bytes]
) -> None:
    waiting = start(folder, *RESUME, *SMALL)
    wait_for(lambda: is_open(waiting, "resume.lock"))
    other = start(
        folder, "sh", "-c", "exec 9<>.snakemake/controller.lock; flock -s 9; exec sleep 100"
    )
    wait_for(lambda: is_open(other, "controller.lock"))
    (folder / ".snakemake/locks").mkdir()
    lock = folder / ".snakemake/locks/0.output.lock"
    lock.touch()
    leftover.kill()
    leftover.wait()
    assert waiting.wait(60) == 1 and other.poll() is None and lock.exists()
    refused = resume(folder, *SMALL)
    assert f"error: Snakemake still works in {folder} (process {other.pid})" in refused.stderr
    assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 1
    other.kill()
    other.wait()


def is_open(process: subprocess.Popen[bytes], name: str) -> bool:
    files = Path(f"/proc/{process.pid}/fd").iterdir()
    return any(file.exists() and file.readlink().name == name for file in list(files))


@pytest.mark.parametrize("target", ["demo", "resume"])
def test_a_study_that_make_starts_may_fetch_a_model(folder: Path, target: str) -> None:
    """sbatch hands its environment on to the jobs."""
    told = run(folder, "make", "--dry-run", target, "PROFILE=slurm").stdout
    assert "OMP_NUM_THREADS=1" in told and "HF_HUB_OFFLINE" not in told
