"""Where the time of a study went, from what every job noted about itself.

A study is one or more working sessions: job intervals with gaps under `BRIDGED_GAP` seconds
belong to one session, so a study resumed the next day counts only the time it worked. Every
core-second of a session falls in exactly one place:

- a category that a job named (import, generate, execute, ...), or "unaccounted" in that job;
- "workflow": no job ran, the workflow engine was choosing or starting the next one;
- "idle": no job held the core while another core was held.

Each job counts with the cores it held, from its start to its end.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

BRIDGED_GAP = 60.0  # seconds
CATEGORIES = (
    "import",
    "prepare",
    "generate",
    "execute",
    "grade",
    "update",
    "train",
    "write",
    "collect",
    "analyse",
    "draw",
)
OUTSIDE_JOBS = ("workflow", "idle")
TIME_SPLIT_COLUMNS = ("rule", "category", "seconds", "share")
# The noted parts of a job may exceed its length by what two clocks can differ.
CLOCK_TOLERANCE = 0.05  # seconds
CLOCK_DRIFT = 0.001  # of the length


@dataclass(frozen=True, slots=True)
class JobTiming:
    """When one job ran (seconds since the epoch), what it did with its time, and what it held."""

    rule: str
    job: str
    started: float
    ended: float
    seconds: dict[str, float]  # category -> seconds
    peak_rss_gib: float
    cores: int
    gpus: int
    machine: dict[str, Any]  # of agent.core.machine


@dataclass(frozen=True, slots=True)
class TimeSummary:
    cores: int
    jobs: int
    wall_seconds: float
    core_seconds: float
    busy_core_seconds: float  # of cores that jobs held
    gpu_seconds: float  # of GPUs that jobs held
    machines: dict[str, Any]
    named_share: float  # of core_seconds: everything but "unaccounted"
    useful_time_share: float  # of busy_core_seconds: everything but "import"
    peak_memory_gib: float  # largest sum over jobs that ran at the same time


def read_timings(paths: Iterable[Path]) -> list[JobTiming]:
    """Read timing files; a folder stands for all JSON files in it, at any depth."""
    files = [
        file
        for path in paths
        for file in (sorted(path.rglob("*.json")) if path.is_dir() else [path])
    ]
    return [_read_timing(file) for file in files]


def _read_timing(path: Path) -> JobTiming:
    record = json.loads(path.read_text())
    fields = JobTiming.__dataclass_fields__
    missing = [name for name in fields if name not in record]
    if missing:
        raise ValueError(f"{path}: timing lacks {', '.join(missing)}; run the job again")
    job = JobTiming(**{name: record[name] for name in fields})
    length = job.ended - job.started
    named = sum(job.seconds.values())
    if length < 0 or named > length * (1 + CLOCK_DRIFT) + CLOCK_TOLERANCE:
        raise ValueError(
            f"{path}: the parts of job {job.job} take {named:.3f} s of {length:.3f} s; "
            "parts must not overlap"
        )
    return job


def split_time(jobs: list[JobTiming], cores: int) -> tuple[pd.DataFrame, TimeSummary]:
    """Core-seconds by rule and category (rule empty outside jobs), and their totals."""
    if not jobs:
        raise ValueError("split_time: no timing given; pass the timing file of every job")
    _check_cores(jobs, cores)
    wall = sum(last - first for first, last in merge_intervals(jobs, BRIDGED_GAP))
    occupied = sum(last - first for first, last in merge_intervals(jobs, 0.0))
    busy = sum(job.cores * (job.ended - job.started) for job in jobs)
    parts = _job_parts(jobs)
    parts["", "workflow"] = cores * (wall - occupied)
    parts["", "idle"] = cores * occupied - busy
    total = cores * wall
    table = pd.DataFrame(
        [(rule, category, seconds, seconds / total) for (rule, category), seconds in parts.items()],
        columns=list(TIME_SPLIT_COLUMNS),
    ).sort_values(["rule", "category"], ignore_index=True)
    by_category = table.groupby("category")["seconds"].sum()
    summary = TimeSummary(
        cores=cores,
        jobs=len(jobs),
        wall_seconds=wall,
        core_seconds=total,
        busy_core_seconds=busy,
        gpu_seconds=sum(job.gpus * (job.ended - job.started) for job in jobs),
        machines=machines([job.machine for job in jobs]),
        named_share=1.0 - by_category["unaccounted"] / total,
        useful_time_share=1.0 - by_category.get("import", 0.0) / busy,
        peak_memory_gib=largest_sum(jobs, [job.peak_rss_gib for job in jobs]),
    )
    return table, summary


def _job_parts(jobs: list[JobTiming]) -> dict[tuple[str, str], float]:
    parts: dict[tuple[str, str], float] = defaultdict(float)
    for job in jobs:
        for category, seconds in job.seconds.items():
            parts[job.rule, category] += job.cores * seconds
        named = sum(job.seconds.values())
        unaccounted = max(job.ended - job.started - named, 0.0)
        parts[job.rule, "unaccounted"] += job.cores * unaccounted
    return parts


def machines(found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """How many machines worked, and the models of their processors and of the GPUs jobs held.

    The latter are None where some job could not tell.
    """
    each = list(found)
    gpus = [one["gpus"] for one in each]
    return {
        "count": len({one["host"] for one in each}),
        "cpus": sorted({one["cpu"] for one in each}),
        "gpus": None if None in gpus else sorted({name for names in gpus for name in names}),
    }


def merge_intervals(jobs: list[JobTiming], bridged_gap: float) -> list[tuple[float, float]]:
    """Union of the job intervals, joining those with less than `bridged_gap` seconds between."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted((job.started, job.ended) for job in jobs):
        if merged and (start <= merged[-1][1] or start - merged[-1][1] < bridged_gap):
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def largest_sum(jobs: list[JobTiming], amounts: list[float]) -> float:
    """Largest sum, over time, of the amounts of the jobs running then.

    A job that starts when another ends does not run at the same time.
    """
    changes = [(job.started, amount) for job, amount in zip(jobs, amounts, strict=True)]
    changes += [(job.ended, -amount) for job, amount in zip(jobs, amounts, strict=True)]
    running = largest = 0.0
    for _, change in sorted(changes):  # at equal times the negative changes come first
        running += change
        largest = max(largest, running)
    return largest


def cores_at_once(jobs: list[JobTiming]) -> int:
    """The most cores that jobs held at the same time."""
    return round(largest_sum(jobs, [float(job.cores) for job in jobs]))


def _check_cores(jobs: list[JobTiming], cores: int) -> None:
    together = cores_at_once(jobs)
    if together > cores:
        raise ValueError(
            f"split_time: jobs held {together} cores at the same time of {cores}; "
            "pass the number of cores the study had"
        )
