"""Report what this machine offers to jobs; `check_cluster` asks a node of each partition."""

import fcntl
import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import tyro

from agent.core.errors import one_line_errors
from agent.sandbox.runner import ProgramLimits, WarmRunner

CONNECTED_SECONDS = 5  # that a host is waited for
HOSTS = ("www.kaggle.com", "huggingface.co")  # of competitions, and of models and DSBench's archive
SCRATCH = ("TMPDIR", "SCRATCH", "LOCAL_SCRATCH", "SLURM_TMPDIR", "/tmp", "/scratch", "/local")


def main(lock: Path) -> None:
    """Print a fact per line.

    Args:
        lock: file that the asking machine has locked, in a folder that all machines see.
    """
    for name, value in node_facts(lock):
        print(f"  {name:<24}{value}", flush=True)


def node_facts(lock: Path) -> Iterator[tuple[str, str]]:
    yield "name", f"{platform.node()}, Linux {platform.release()}"
    yield "sandbox", sandbox_tier()
    yield "Apptainer", first_line(["apptainer", "--version"], ["singularity", "--version"])
    yield "GPUs", first_line(["nvidia-smi", "--list-gpus"])
    for place in dict.fromkeys(os.environ.get(name, name) for name in SCRATCH):
        if Path(place).is_dir() and os.access(place, os.W_OK):
            yield "scratch", f"{place}, {shutil.disk_usage(place).free // 10**9} GB free"
    yield "locks between machines", seen_lock(lock)
    yield "internet", ", ".join(f"{host} {reached(host)}" for host in HOSTS)


def sandbox_tier() -> str:
    """The confinement that programs of a model get here, or why there is none."""
    small = ProgramLimits(10.0, 10.0, 1024, 16, 1, 1, 16, 1)
    try:
        with WarmRunner(small, ()) as runner, redirect_stdout(StringIO()):
            return runner.confinement
    except RuntimeError as refused:
        return f"none: {refused}"


def first_line(*commands: list[str]) -> str:
    for command in commands:
        if shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            return (done.stdout + done.stderr).strip().partition("\n")[0] or "none"
    return "none"


def reached(host: str) -> str:
    """Whether a node can fetch from a host; a proxy answers for what is behind it."""
    proxy = urlsplit(getproxies().get("https", ""))
    place = (proxy.hostname, proxy.port or 80) if proxy.hostname else (host, 443)
    try:
        socket.create_connection(place, timeout=CONNECTED_SECONDS).close()
    except OSError:
        return "no"
    return "through the proxy" if proxy.hostname else "yes"


def seen_lock(path: Path) -> str:
    """Whether the lock that the asking machine holds is known here."""
    if not path.exists():
        return "not tried"
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "yes"
        except OSError as refused:
            return f"no ({refused})"
    return "no"


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
