"""Report what this cluster offers, and print what to write into slurm/config.yaml."""

import fcntl
import getpass
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.sandbox.runner import ProgramLimits, WarmRunner

# Sets of nodes that are alike: partition, a * after the default, state, longest time, ...
SINFO = ["sinfo", "--noheader", "--format=%R|%P|%a|%l|%D|%c|%m|%G"]
PROBED_SECONDS = 60  # that a node is waited for
LOCK = Path(".snakemake/check.lock")
SCRATCH = ("TMPDIR", "SCRATCH", "LOCAL_SCRATCH", "SLURM_TMPDIR", "/tmp", "/scratch", "/local")


@dataclass(frozen=True)
class Partition:
    name: str
    default: bool
    minutes: int | None  # None where there is no limit
    nodes: int
    processors: int  # of its largest node, as the next three
    memory_mb: int
    gpus: int
    types: tuple[str, ...]


def main(node: bool = False) -> None:
    """Look at the cluster from a login node, and at one of its nodes through a short job.

    Args:
        node: look at this machine only, as the job does.
    """
    if node:
        report(node_facts())
        return
    if not shutil.which("sinfo"):
        raise RuntimeError("no SLURM here (no sinfo): run this on a login node of the cluster")
    settings = read_settings(_output(["scontrol", "show", "config"]))
    partitions = read_partitions(_output(SINFO))
    accounts = read_accounts()
    report(cluster_facts(settings, partitions, accounts))
    print("\none node:", flush=True)
    probe_node()
    print(
        "\nfor the first part of slurm/config.yaml, without the partitions that are not for you:\n"
    )
    print(proposal(partitions, accounts))


def report(facts: Iterator[tuple[str, str]]) -> None:
    for name, value in facts:
        print(f"  {name:<24}{value}", flush=True)


def cluster_facts(
    settings: dict[str, str], partitions: list[Partition], accounts: list[str]
) -> Iterator[tuple[str, str]]:
    yield "SLURM", settings.get("SLURM_VERSION", "unknown version")
    for partition in partitions:
        yield f"partition {partition.name}", describe(partition)
    accounting = settings.get("AccountingStorageType", "").rpartition("/")[2]
    if accounting in ("", "none", "(null)"):
        yield "accounting", "none: no accounts, and no efficiency report at the end of a run"
    else:
        yield "accounting", f"{accounting}; your accounts: {', '.join(accounts) or 'none found'}"
        if "job_comment" not in settings.get("AccountingStoreFlags", ""):
            yield "", "comments are not stored: the efficiency report names no rules"
    yield "memory of ended jobs", remembered(settings.get("MinJobAge", ""))


def describe(partition: Partition) -> str:
    minutes = "no time limit" if partition.minutes is None else f"{partition.minutes} minutes"
    gpus = f", {partition.gpus} GPUs {' '.join(partition.types)}".rstrip()
    return (
        f"{partition.nodes} nodes of up to {partition.processors} processors, "
        f"{partition.memory_mb} MB{gpus if partition.gpus else ''}; {minutes}"
        f"{'; default' if partition.default else ''}"
    )


def remembered(age: str) -> str:
    """Whether squeue still knows a job that ended between two looks; `age` is like 300 sec."""
    seconds = int(age.split()[0]) if age[:1].isdigit() else 0
    if seconds >= 180:
        return f"{seconds} s, enough"
    return (
        f"{seconds} s: jobs that end between two looks are lost; set slurm-init-seconds-before-"
        f"status-checks to {max(1, seconds // 3)} or less, or ask for a MinJobAge of 300"
    )


def read_settings(text: str) -> dict[str, str]:
    """`scontrol show config`, lines like `MinJobAge = 300 sec`."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def read_partitions(text: str) -> list[Partition]:
    """The partitions that take jobs, the default first; what `SINFO` prints."""
    rows = [line.split("|") for line in text.splitlines()]
    groups: dict[str, list[list[str]]] = {}
    for row in rows:
        if row[2] == "up":
            groups.setdefault(row[0], []).append(row)
    found = [_partition(name, group) for name, group in groups.items()]
    return sorted(found, key=lambda partition: not partition.default)


def _partition(name: str, rows: list[list[str]]) -> Partition:
    gpus = [re.findall(r"gpu:(?:([A-Za-z]\w*):)?(\d+)", row[7]) for row in rows]
    return Partition(
        name,
        any(row[1].endswith("*") for row in rows),
        read_minutes(rows[0][3]),
        sum(int(row[4]) for row in rows),
        max(int(row[5].rstrip("+")) for row in rows),
        max(int(row[6].rstrip("+")) for row in rows),
        max(sum(int(count) for _, count in node) for node in gpus),
        tuple(sorted({kind for node in gpus for kind, _ in node if kind})),
    )


def read_minutes(limit: str) -> int | None:
    """SLURM's times: days-hours:minutes:seconds, hours:minutes:seconds, minutes:seconds."""
    if not limit[:1].isdigit():
        return None
    days, _, rest = limit.rpartition("-")
    hours, minutes, _ = [0, 0, *map(int, rest.split(":"))][-3:]
    return int(days or 0) * 1440 + hours * 60 + minutes


def read_accounts() -> list[str]:
    command = ["sacctmgr", "--noheader", "--parsable2", "show", "associations"]
    command += [f"user={getpass.getuser()}", "format=Account"]
    asked = subprocess.run(command, capture_output=True, text=True)
    return sorted(set(asked.stdout.split())) if asked.returncode == 0 else []


def proposal(partitions: list[Partition], accounts: list[str]) -> str:
    """The keys of the profile's first part, all of them whole."""
    lines = ["partitions:", *(f"  {part.name}: {{{limits(part)}}}" for part in partitions)]
    lines += ["resources:", "  place: 1"]
    lines += [f"  mem_mb: {max(part.memory_mb for part in partitions)}"]
    times = [part.minutes for part in partitions if part.minutes is not None]
    lines += [f"  runtime: {max(times)}"] if len(times) == len(partitions) else []
    lines += ["default-resources:", "  place: 1", "  nodes: 1"]
    lines += ["""  slurm_extra: "'--signal=URG@120'\""""]
    lines += [f"  slurm_account: {accounts[0]}"] if accounts else []
    lines += [f"  # or {account}" for account in accounts[1:]]
    for part in partitions:
        if len(part.types) > 1:
            lines += [f"# {part.name} has {', '.join(part.types)}: see gpu_model there"]
    return "\n".join(lines)


def limits(partition: Partition) -> str:
    found = {
        "max_runtime": partition.minutes,
        "max_mem_mb": partition.memory_mb,
        "max_threads": partition.processors,
        "max_gpu": partition.gpus,
    }
    return ", ".join(f"{name}: {value}" for name, value in found.items() if value)


def probe_node() -> None:
    """Look at a node of the default partition, while a lock is held here that it should see."""
    command = ["srun", f"--immediate={PROBED_SECONDS}", "--ntasks=1", "--mem=1000", "--time=5"]
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run([*command, sys.executable, __file__, "--node"], check=False)
    LOCK.unlink()
    if done.returncode:
        print(f"  no answer: try again when a node is free, or by hand: {' '.join(command)} ...")


def node_facts() -> Iterator[tuple[str, str]]:
    yield "name", f"{platform.node()}, Linux {platform.release()}"
    yield "sandbox", sandbox_tier()
    yield "Apptainer", first_line(["apptainer", "--version"], ["singularity", "--version"])
    yield "GPUs", first_line(["nvidia-smi", "--list-gpus"])
    for place in dict.fromkeys(os.environ.get(name, name) for name in SCRATCH):
        if Path(place).is_dir() and os.access(place, os.W_OK):
            yield "scratch", f"{place}, {shutil.disk_usage(place).free // 10**9} GB free"
    yield "locks between machines", seen_lock()


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
            return (_output(command).splitlines() or ["none"])[0]
    return "none"


def seen_lock() -> str:
    """Whether the lock that the asking machine holds is known here."""
    if not LOCK.exists():
        return "not tried"
    with LOCK.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "yes"
        except OSError as refused:
            return f"no ({refused})"
    return "no"


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
