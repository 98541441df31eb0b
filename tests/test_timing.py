"""Seconds are counted once, under the phase that spent them."""

import json
import os
import time
from pathlib import Path

import pytest

from agent.core import machine
from agent.core.timing import Stopwatch


def test_phases_add_up_and_errors_count_too():
    stopwatch = Stopwatch("rule", "job")
    for _ in range(2):
        with stopwatch.phase("generate"):
            time.sleep(0.02)
    with pytest.raises(KeyError), stopwatch.phase("execute"):
        time.sleep(0.02)
        raise KeyError
    assert stopwatch.seconds["generate"] >= 0.04 and stopwatch.seconds["execute"] >= 0.02


def test_the_time_since_the_process_began_counts_as_import():
    first = Stopwatch("rule", "job").seconds["import"]
    time.sleep(0.02)
    second = Stopwatch("rule", "job").seconds["import"]
    assert 0 < first < second < first + 60


def test_moving_seconds_keeps_their_sum():
    stopwatch = Stopwatch("rule", "job")
    stopwatch.seconds |= {"execute": 8.0, "grade": 1.0}
    stopwatch.move("execute", "grade", 2.0)
    assert (stopwatch.seconds["execute"], stopwatch.seconds["grade"]) == (6.0, 3.0)


def test_the_record_is_complete(tmp_path):
    stopwatch = Stopwatch("rule", "job")
    with stopwatch.phase("generate"):
        pass
    stopwatch.write(tmp_path / "deep" / "timing.json")
    record = json.loads((tmp_path / "deep" / "timing.json").read_text())
    assert (record["rule"], record["job"]) == ("rule", "job")
    assert record["gpus"] == 0 and record["machine"] == machine.describe(0)
    assert set(record["seconds"]) == {"import", "generate"} and record["peak_rss_gib"] > 0
    assert 0 <= sum(record["seconds"].values()) <= record["ended"] - record["started"] + 0.01


@pytest.mark.parametrize(
    ("threads", "nodes", "cores"),
    [("4", 1, 4), ("4", 2, 8), ("3,2", 1, 3), ("", 1, len(os.sched_getaffinity(0)))],
)
def test_a_job_notes_the_cores_it_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: str, nodes: int, cores: int
) -> None:
    """As Snakemake says in the variable; later changes of it, for other processes, do not count."""
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    stopwatch = Stopwatch("rule", "job")
    monkeypatch.setenv("OMP_NUM_THREADS", "99")
    stopwatch.write(tmp_path / "timing.json", gpus=16, nodes=nodes)
    record = json.loads((tmp_path / "timing.json").read_text())
    assert (record["cores"], record["gpus"]) == (cores, 16)


@pytest.mark.parametrize(
    ("driver", "gpus"),
    [("echo 'A GPU'; echo 'A GPU'; echo 'B'", ["A GPU", "B"]), ("exit 9", None), (None, None)],
)
def test_gpus_are_what_the_driver_names_or_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str | None, gpus: list[str] | None
) -> None:
    if driver:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{driver}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.describe(8)["gpus"] == gpus and machine.describe(0)["gpus"] == []
    assert machine.describe(0)["cpu"] and machine.describe(0)["host"]


def test_nothing_is_written_when_nobody_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Stopwatch("rule", "job").write(None)
    assert list(tmp_path.iterdir()) == []
