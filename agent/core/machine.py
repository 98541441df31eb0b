"""The machine that a job runs on."""

import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any


def describe(gpus: int) -> dict[str, Any]:
    """Its name and processor; if the job holds GPUs also their models, or null if unknown.

    Of a job on several nodes this is the first one.
    """
    return {"host": platform.node(), "cpu": _cpu(), "gpus": _gpus() if gpus else []}


def _cpu() -> str:
    """Its model, or where the kernel names none, as on ARM, its architecture."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _gpus() -> list[str] | None:
    """What the driver names, one of each model; no failure of it is worth a finished job."""
    if not shutil.which("nvidia-smi"):
        return None
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return sorted(set(done.stdout.splitlines())) if done.returncode == 0 else None
