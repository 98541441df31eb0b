"""One SLURM; on it the small jobs and the miniature study at once, the study also without it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT, SMOKE, copy_repository

from slurm import SMALL, call, clone, proposed, require_slurm, start

Started = tuple[Path, subprocess.Popen[bytes]]


@pytest.fixture(scope="session")
def report() -> str:
    """What `make cluster-check` prints."""
    require_slurm()
    return call(ROOT, sys.executable, "scripts/check_cluster.py")


@pytest.fixture(scope="session")
def site_values(report: str) -> str:
    """As printed for the profile, but one partition is without GPUs, the other for GPUs alone."""
    values = proposed(report)
    two = ", max_gpu: 2, available_gpu_models: [fake]}"
    assert f"standard: {{max_runtime: 120, max_mem_mb: 64000, max_threads: 8{two}" in values
    without, gpus = values.split(two, 1)
    return f"{without}}}{gpus.replace(two, f', max_mpi_tasks: 0{two}', 1)}"


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """The study as it runs on this machine, without SLURM."""
    require_slurm()
    folder = copy_repository(tmp_path_factory.mktemp("local"))
    running = start(folder, "snakemake", "--cores", "2", "--configfile", SMOKE)
    yield folder, running
    running.kill()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, site_values: str) -> Iterator[Started]:
    """The small jobs, as they run on SLURM."""
    folder = clone(tmp_path_factory.mktemp("small"), site_values)
    running = start(folder, "snakemake", "--profile", "slurm", *SMALL)
    yield folder, running
    running.kill()


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory, site_values: str) -> Path:
    """Where the study runs on SLURM."""
    return clone(tmp_path_factory.mktemp("study"), site_values)
