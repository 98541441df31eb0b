"""Seconds are counted once, under the phase that spent them."""

import json
import time

import pytest

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
    assert set(record["seconds"]) == {"import", "generate"} and record["peak_rss_gib"] > 0
    assert 0 <= sum(record["seconds"].values()) <= record["ended"] - record["started"] + 0.01


def test_nothing_is_written_when_nobody_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Stopwatch("rule", "job").write(None)
    assert list(tmp_path.iterdir()) == []
