"""Time accounting against intervals made by hand, and its conservation law."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_study import MACHINE, synthetic_timings

from agent.evaluation.time_split import (
    JobTiming,
    cores_at_once,
    largest_sum,
    merge_intervals,
    read_timings,
    split_time,
)


def job(rule: str, started: float, ended: float, gib: float = 1.0, **seconds: float) -> JobTiming:
    return JobTiming(rule, f"{rule}-{started}", started, ended, seconds, gib, 1, 0, MACHINE)


HAND_MADE = [
    job("train", 0.0, 10.0, 1.0, **{"import": 2.0}, update=7.0),
    job("play", 4.0, 8.0, 2.0, generate=4.0),
    job("play", 12.0, 20.0, 0.5, generate=5.0, execute=3.0),
    job("report", 1000.0, 1010.0, 0.25, **{"import": 1.0}, write=9.0),
]
jobs_anywhere = st.lists(
    st.tuples(st.integers(0, 500), st.integers(1, 90), st.floats(0, 1)), min_size=1, max_size=12
)


def seconds_of(table, rule: str, category: str) -> float:
    return table.loc[(table["rule"] == rule) & (table["category"] == category), "seconds"].sum()


def test_hand_made_study_is_split_as_counted_by_hand() -> None:
    table, summary = split_time(HAND_MADE, cores=2)
    assert summary.wall_seconds == pytest.approx(20 + 10)
    assert summary.core_seconds == pytest.approx(60)
    assert summary.busy_core_seconds == pytest.approx(32)
    assert seconds_of(table, "", "workflow") == pytest.approx(2 * 2)
    assert seconds_of(table, "", "idle") == pytest.approx(6 + 8 + 10)
    assert seconds_of(table, "train", "unaccounted") == pytest.approx(1)
    assert seconds_of(table, "play", "generate") == pytest.approx(9)
    assert summary.named_share == pytest.approx(1 - 1 / 60)
    assert summary.useful_time_share == pytest.approx(1 - 3 / 32)
    assert summary.peak_memory_gib == pytest.approx(3.0)


@given(jobs_anywhere)
def test_every_core_second_is_in_exactly_one_place(intervals: list) -> None:
    jobs = [
        job("rule", start, start + length, execute=share * length)
        for start, length, share in intervals
    ]
    cores = round(largest_sum(jobs, [1.0] * len(jobs)))
    table, summary = split_time(jobs, cores)
    assert table["seconds"].sum() == pytest.approx(summary.core_seconds)
    assert table["share"].sum() == pytest.approx(1.0)
    assert (table["seconds"] >= -1e-9).all()


@given(jobs_anywhere, st.randoms(use_true_random=False))
def test_the_order_of_timing_files_does_not_matter(intervals: list, random) -> None:
    jobs = [job("rule", start, start + length) for start, length, _ in intervals]
    shuffled = random.sample(jobs, len(jobs))
    assert merge_intervals(jobs, 60.0) == merge_intervals(shuffled, 60.0)
    assert largest_sum(jobs, [1.0] * len(jobs)) == largest_sum(shuffled, [1.0] * len(jobs))


@pytest.mark.parametrize(("gap", "sessions"), [(59.9, 1), (60.0, 2), (86400.0, 2)])
def test_a_study_resumed_later_counts_only_its_working_time(gap: float, sessions: int) -> None:
    jobs = [job("a", 0.0, 10.0), job("b", 10.0 + gap, 20.0 + gap)]
    assert len(merge_intervals(jobs, 60.0)) == sessions
    _, summary = split_time(jobs, cores=1)
    assert summary.wall_seconds == pytest.approx(20.0 if sessions == 2 else 20.0 + gap)


def test_jobs_one_after_the_other_do_not_add_up_memory() -> None:
    jobs = [job("a", 0.0, 5.0, 3.0), job("b", 5.0, 9.0, 2.0)]
    assert largest_sum(jobs, [3.0, 2.0]) == 3.0


def test_a_job_counts_with_the_cores_and_gpus_it_held() -> None:
    node = {"host": "node", "cpu": "Another", "gpus": ["A GPU"]}
    train, play, *others = HAND_MADE
    held = [replace(train, cores=32, gpus=8, machine=node), play, *others]
    assert cores_at_once(held) == 33
    table, summary = split_time(held, cores=33)
    assert summary.busy_core_seconds == pytest.approx(32 * 10 + 4 + 8 + 10)
    assert summary.gpu_seconds == pytest.approx(8 * 10)
    assert seconds_of(table, "train", "update") == pytest.approx(32 * 7)
    assert seconds_of(table, "train", "unaccounted") == pytest.approx(32)
    assert table["seconds"].sum() == pytest.approx(33 * 30)
    assert summary.machines == {
        "count": 2,
        "cpus": ["A processor", "Another"],
        "gpus": ["A GPU"],
    }
    unknown = [replace(train, machine=node | {"gpus": None}), play]
    assert split_time(unknown, cores=2)[1].machines["gpus"] is None


def test_more_held_at_once_than_there_are_cores_is_an_error() -> None:
    with pytest.raises(ValueError, match="jobs held 2 cores at the same time of 1"):
        split_time(HAND_MADE, cores=1)


def test_timing_is_read_from_files_and_folders_alike(tmp_path: Path) -> None:
    records = synthetic_timings()
    for record in records:
        path = tmp_path / record["rule"] / f"{record['job']}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(record))
    from_folder = read_timings([tmp_path])
    from_files = read_timings(sorted(tmp_path.rglob("*.json")))
    assert from_folder == from_files and len(from_folder) == len(records)
    _, summary = split_time(from_folder, cores=2)
    assert summary.wall_seconds < 3600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ended": 0.0}, "must not overlap"),
        ({"seconds": {"execute": 1e6}}, "must not overlap"),
        ({"peak_rss_gib": None}, "timing lacks peak_rss_gib"),
    ],
)
def test_impossible_timing_is_rejected(tmp_path: Path, change: dict, message: str) -> None:
    record = synthetic_timings()[0] | change
    path = tmp_path / "job.json"
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not None}))
    with pytest.raises(ValueError, match=message):
        read_timings([path])
