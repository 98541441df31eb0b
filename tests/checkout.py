"""Copies of the repository in which the tests edit files and run the workflow."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
SMOKE = "config/smoke.yaml"
# One thread per process, as in the Makefile; nothing is ever fetched or sent.
QUIET = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "offline",
}


def copy_repository(folder: Path) -> Path:
    """Every file that is, or could be, under version control."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def run(folder: Path, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command of this Python's environment on the code of the copy in `folder`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | QUIET | {"PATH": path, "PYTHONPATH": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, **options
    )


def snakemake(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(folder, "snakemake", "--configfile", SMOKE, *options)


def configure(folder: Path, key: str, value: Any) -> None:
    """Set one key, like ppo.epochs, of the smoke configuration."""
    path = folder / SMOKE
    config = yaml.safe_load(path.read_text())
    *sections, last = key.split(".")
    place = config
    for section in sections:
        place = place[section]
    place[last] = value
    path.write_text(yaml.safe_dump(config))


def replace_in(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def jobs_to_run(summary: Iterable[str]) -> set[str]:
    """Jobs that `snakemake --summary` would run, named like seed0/iteration1/shard0.

    The name is that of the job's log or, where it never ran and has none, of its record of time.
    Columns of the table: file, date, rule, log, status, plan.
    """
    rows = [line.split("\t") for line in summary if line.startswith("results/")]
    pending = [row for row in rows if row[5] == "update pending"]
    logs = {row[3].partition("/logs/")[2] for row in pending}
    timings = {row[0].partition("/timing/")[2] for row in pending if row[3] == "-"}
    return {str(Path(name).with_suffix("")) for name in logs | timings if name}


def reproducible_files(folder: Path) -> list[Path]:
    """What a study leaves that must be the same on any machine, byte for byte."""
    patterns = (
        *("*.csv", "tables/*", "figures/*", "**/metrics.json", "**/*.safetensors"),
        *("trajectory_browser/**/*.*s", "trajectory_browser/*.html", "paper/*"),
    )
    results = folder / "results/smoke"
    found = [path for pattern in patterns for path in sorted(results.glob(pattern))]
    return [path for path in found if path.stem not in ("time_split", "timing")]
