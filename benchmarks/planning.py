"""Seconds until Snakemake knows every job of a study of about 10,000.

The study is that of all of MLE-Dojo with more runs, iterations and shards; nothing of it has run.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIZE = ["seeds=[0,1,2,3,4]", "training={iterations: 20, shards: 95, episodes: 9500}"]
STUDY = ["--profile", "slurm", "--configfile", "config/qwen7b.yaml", "--config", *SIZE]
TARGET = 20.0  # seconds


def run() -> dict[str, float]:
    """A dry-run begins by counting the jobs that it has planned; then it is stopped."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", *STUDY]
    started = time.perf_counter()
    planning = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert planning.stdout is not None
    with planning, planning.stdout:
        for line in planning.stdout:
            if found := re.match(r"total +(\d+)$", line):
                seconds = time.perf_counter() - started
                planning.kill()
                met = seconds <= TARGET
                return {"jobs": float(found[1]), "seconds": seconds, "target": TARGET, "met": met}
    raise RuntimeError("planning: Snakemake ended without counting jobs")
