"""What a study will cost: a line fitted to measured jobs, sums by rule, and the longest chain.

Seconds of a job are taken as `start + per_unit * units` with both at least 0, where a unit is one
turn of an episode, or the job itself for rules that play none. A rule that was never measured
counts with the time its jobs ask for, which they must not exceed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import nnls

COLUMNS = (
    *("rule", "jobs", "cores", "gpus", "memory_gb", "hours_each", "core_hours", "gpu_hours"),
    *("disk_gb", "basis"),
)


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a study, as it asks and as it was measured."""

    rule: str
    units: float
    threads: int
    gpus: int
    memory_mb: float
    asked_seconds: float
    disk_mb: float  # what its outputs are thought to take
    waits_for: tuple[int, ...]  # indices of jobs
    wildcards: str = ""
    seconds: float | None = None  # measured
    peak_mb: float | None = None  # measured, of memory
    written_mb: float | None = None  # measured, of outputs


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds, memory and disk of a rule's jobs, from `jobs` measured ones."""

    start: float
    per_unit: float
    peak_mb: float
    written_mb: float
    jobs: int

    def seconds(self, job: Job) -> float:
        return self.start + self.per_unit * job.units


def fit(measured: Sequence[Job]) -> dict[str, Estimate]:
    """One estimate for each rule that has measured jobs."""
    done = [job for job in measured if job.seconds is not None]
    return {
        rule: _fit_rule([job for job in done if job.rule == rule])
        for rule in sorted({job.rule for job in done})
    }


def _fit_rule(jobs: Sequence[Job]) -> Estimate:
    units = np.array([job.units for job in jobs], dtype=float)
    seconds = np.array([job.seconds for job in jobs], dtype=float)
    if len(set(units)) > 1:
        (start, per_unit), _ = nnls(np.column_stack([np.ones_like(units), units]), seconds)
    else:
        start, per_unit = 0.0, float(seconds.mean() / units[0])
    peaks = [job.peak_mb for job in jobs if job.peak_mb is not None]
    written = [job.written_mb for job in jobs if job.written_mb is not None]
    return Estimate(
        float(start),
        float(per_unit),
        max(peaks, default=0.0),
        float(np.mean(written)) if written else 0.0,
        len(jobs),
    )


def expected_seconds(jobs: Sequence[Job], estimates: Mapping[str, Estimate]) -> list[float]:
    return [
        estimates[job.rule].seconds(job) if job.rule in estimates else job.asked_seconds
        for job in jobs
    ]


def tabulate(jobs: Sequence[Job], estimates: Mapping[str, Estimate]) -> pd.DataFrame:
    """One row per rule, the most expensive first; memory is the largest job's."""
    rows = []
    for job, seconds in zip(jobs, expected_seconds(jobs, estimates), strict=True):
        known = estimates.get(job.rule)
        rows.append(
            {
                "rule": job.rule,
                "jobs": 1,
                "cores": job.threads,
                "gpus": job.gpus,
                "memory_gb": (known.peak_mb if known else job.memory_mb) / 1000,
                "hours_each": seconds / 3600,
                "core_hours": job.threads * seconds / 3600,
                "gpu_hours": job.gpus * seconds / 3600,
                "disk_gb": (known.written_mb if known else job.disk_mb) / 1000,
                "basis": f"{known.jobs} measured" if known else "as asked, at most",
            }
        )
    table = pd.DataFrame(rows, columns=COLUMNS)
    summed = dict.fromkeys(("jobs", "core_hours", "gpu_hours", "disk_gb"), "sum")
    largest = dict.fromkeys(("cores", "gpus", "memory_gb"), "max")
    how = {**summed, **largest, "hours_each": "mean", "basis": "first"}
    by_rule = table.groupby("rule", as_index=False).agg(how)[list(COLUMNS)]
    return by_rule.sort_values(
        ["gpu_hours", "core_hours", "rule"], ascending=[False, False, True], ignore_index=True
    )


def longest_chain(jobs: Sequence[Job], seconds: Sequence[float]) -> float:
    """Seconds that a study takes at least, however many jobs run at once."""
    ends: dict[int, float] = {}

    def end(number: int) -> float:
        waiting = [number]
        while waiting:
            last = waiting[-1]
            missing = [before for before in jobs[last].waits_for if before not in ends]
            if missing:
                waiting += missing
                continue
            begin = max((ends[before] for before in jobs[last].waits_for), default=0.0)
            ends[waiting.pop()] = begin + seconds[last]
        return ends[number]

    return max((end(number) for number in range(len(jobs))), default=0.0)
