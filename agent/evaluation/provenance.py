"""Where a study's results come from: code, configuration, packages, data, machines, time.

It is measured, as time is, and so differs from run to run. What is not known is null, with the
reason beside it under `unknown`.
"""

import hashlib
import importlib.metadata
import json
import platform
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from agent.evaluation.time_split import machines

JOB_KEYS = ("rule", "job", "started", "ended", "machine", "loaded")

# Why of the code's version something is not known.
UNKNOWN_VERSION = {
    "commit": "not a git checkout, or no git",
    "dirty": "not a git checkout, or no git",
    "repository": "not cloned from a web address",
}


def describe_study(
    config: Mapping[str, Any],
    version: Mapping[str, Any],
    images: Sequence[Path],
    constraints: Path,
    competitions: Sequence[Path],
    timings: Sequence[Path],
    turns: Path,
    results: Mapping[str, Path],
) -> dict[str, Any]:
    """All that is known of how `results` came to be; `version` has the keys of UNKNOWN_VERSION."""
    unknown = {key: why for key, why in UNKNOWN_VERSION.items() if version[key] is None}
    jobs = [_job(path) for path in timings]
    slurm = sorted({str(job["slurm_job"]) for job in jobs if job.get("slurm_job")})
    if not images:
        unknown["containers"] = "no container was used; loaded says what the jobs imported"
    if not slurm:
        unknown["slurm_jobs"] = "no job ran under SLURM"
    worked = machines([job["machine"] for job in jobs])
    if worked["gpus"] is None:
        unknown["machines.gpus"] = "jobs held GPUs where no nvidia-smi answered"
    unknown["energy_kwh"] = "no power meter was read"
    text = json.dumps(config, sort_keys=True)
    return {
        "study": config["study"],
        **{key: version[key] for key in UNKNOWN_VERSION},
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "config": dict(config),
        "seeds": list(config["seeds"]),
        "packages": _packages(),
        "loaded": _loaded(jobs),
        "constraints_sha256": sha256(constraints),
        "containers": {path.name: sha256(path) for path in images} or None,
        "competitions_sha256": {path.parent.name: sha256(path) for path in competitions},
        "machines": worked,
        "slurm_jobs": slurm or None,
        "turns_by_sandbox": _tiers(turns),
        "started": min(job["started"] for job in jobs),
        "ended": max(job["ended"] for job in jobs),
        "seconds": _seconds(jobs),
        "energy_kwh": None,
        "results_sha256": {name: sha256(path) for name, path in results.items()},
        "unknown": unknown,
    }


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _job(path: Path) -> dict[str, Any]:
    job = json.loads(path.read_text())
    if missing := [key for key in JOB_KEYS if key not in job]:
        raise ValueError(f"{path}: timing lacks {', '.join(missing)}; run the job again")
    return job


def _packages() -> dict[str, str]:
    """Versions of all that is installed where this runs, Python and the system first."""
    found = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    machine = {"python": platform.python_version(), "system": platform.platform()}
    return machine | dict(sorted(found.items()))


def _loaded(jobs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Versions of what jobs imported, in whatever environments or containers they ran."""
    found: dict[str, set[str]] = defaultdict(set)
    for job in jobs:
        for name, version in job["loaded"].items():
            found[name].add(version)
    return {name: sorted(versions) for name, versions in sorted(found.items())}


def _tiers(turns: Path) -> dict[str, int]:
    """How many turns were played under each confinement."""
    return dict(sorted(Counter(pd.read_csv(turns)["sandbox"]).items()))


def _seconds(jobs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Wall seconds of all jobs of each rule, one after the other."""
    sums: dict[str, float] = defaultdict(float)
    for job in jobs:
        sums[job["rule"]] += job["ended"] - job["started"]
    return dict(sorted(sums.items()))
