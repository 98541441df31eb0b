"""Report what this cluster offers, and print what to write into slurm/config.yaml."""

import fcntl
import getpass
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from agent.core.commands import output_of
from agent.core.errors import one_line_errors
from agent.core.settings import read_config

# Sets of nodes that are alike: partition, a * after the default, state, longest time, ... Without
# --exact unlike ones would share a line, with the smallest's numbers; a terabyte is no 1M.
SINFO = ["sinfo", "--exact", "--noconvert", "--noheader", "--format=%R|%P|%a|%l|%D|%c|%m|%G"]
REMEMBERED_SECONDS = 200  # that squeue must know ended jobs: Snakemake may look every 180 only
PROBED_SECONDS = 60  # that a node is waited for
PROFILE = "slurm/config.yaml"
LOCK = Path(".snakemake/check.lock")


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


def main() -> None:
    """Look at the cluster from a login node, and at a node of each partition through short jobs."""
    if not shutil.which("sinfo"):
        raise RuntimeError("no SLURM here (no sinfo): run this on a login node of the cluster")
    settings = read_settings(output_of(["scontrol", "show", "config"]))
    partitions = read_partitions(output_of(SINFO))
    accounts = read_accounts()
    report(cluster_facts(settings, partitions, accounts))
    probe_nodes(read_config(PROFILE), partitions)
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
        mine = ", ".join(accounts) or "none found"
        yield "accounting", f"{accounting}; your accounts, the default first: {mine}"
        if "job_comment" not in settings.get("AccountingStoreFlags", ""):
            yield "", "comments are not stored: the efficiency report names no rules"
    yield "memory of ended jobs", remembered(settings.get("MinJobAge", ""))
    yield "preemption", preempted(settings.get("PreemptMode", "OFF"))


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
    if seconds >= REMEMBERED_SECONDS:
        return f"{seconds} s, enough"
    return (
        f"{seconds} s: a job that squeue has forgotten would be waited for for ever; ask for a "
        f"MinJobAge of {REMEMBERED_SECONDS} or more; until then set slurm-status-command: sacct, "
        "and never cancel a single job: stop Snakemake, and go on with make resume"
    )


def preempted(mode: str) -> str:
    """What becomes of a preempted job, by SLURM's PreemptMode."""
    if "CANCEL" not in mode:
        return mode
    return (
        f"{mode}: a preempted job has ended, and Snakemake waits for it for ever; stop Snakemake "
        "then, and go on with make resume"
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
    gpus = [re.findall(r"\bgpu:(?:([^:,()]+):)?(\d+)", row[7]) for row in rows]
    return Partition(
        name,
        any(row[1].endswith("*") for row in rows),
        read_minutes(rows[0][3]),
        sum(int(row[4]) for row in rows),
        max(int(row[5]) for row in rows),
        max(int(row[6]) for row in rows),
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
    """The user's accounts, the default one first."""
    command = ["sacctmgr", "--noheader", "--parsable2", "show", "user", getpass.getuser()]
    command += ["withassoc", "format=DefaultAccount,Account"]
    asked = subprocess.run(command, capture_output=True, text=True)
    rows = [line.split("|") for line in asked.stdout.splitlines()] if not asked.returncode else []
    defaults = [row[0] for row in rows]
    return [name for name in dict.fromkeys(defaults + sorted(row[1] for row in rows)) if name]


def proposal(partitions: list[Partition], accounts: list[str]) -> str:
    """The keys of the profile's first part, all of them whole."""
    mine = " or ".join(accounts)
    others = any(not part.gpus for part in partitions)  # for jobs without a GPU
    lines = ["partitions:"]
    lines += [f"  {part.name}: {{{limits(part, others)}}}" for part in partitions]
    lines += ["resources:", "  place: 1", *caps(partitions)]
    lines += ["default-resources:", "  place: 1", "  nodes: 1", "  mpi_tasks: 1"]
    lines += ["""  slurm_extra: "'--signal=URG@120'\""""]
    lines += [f"  # slurm_account: {mine}, if not your default"] if mine else []
    for part in partitions:
        if len(part.types) > 1:
            lines += [f"  # gpu_type: one of {', '.join(part.types)}, which {part.name} has"]
    return "\n".join(lines)


def caps(partitions: list[Partition]) -> Iterator[str]:
    """The most that a job may ask for, with a GPU and without: what fits into one partition.

    The longest time of one with the memory of another would be more than any of them has.
    """
    with_gpus = [part for part in partitions if part.gpus]
    without = [part for part in partitions if not part.gpus]
    for kind, found in (("cpu", without or partitions), ("gpu", with_gpus)):
        if found:
            largest = max(found, key=_room)
            yield f"  {kind}_mem_mb: {largest.memory_mb} # of {largest.name}"
            if largest.minutes is not None:
                yield f"  {kind}_runtime: {largest.minutes}"


def _room(partition: Partition) -> tuple[float, ...]:
    minutes = math.inf if partition.minutes is None else partition.minutes
    return partition.gpus, minutes * partition.memory_mb, partition.memory_mb


def limits(partition: Partition, others: bool) -> str:
    found = {
        "max_runtime": partition.minutes,
        "max_mem_mb": partition.memory_mb,
        "max_threads": partition.processors,
        "max_gpu": partition.gpus,
        "available_gpu_models": f"[{', '.join(partition.types)}]" if partition.types else "",
    }
    kept = ["max_mpi_tasks: 0"] if partition.gpus and others else []
    return ", ".join([f"{name}: {value}" for name, value in found.items() if value] + kept)


def probe_nodes(profile: Mapping[str, Any], partitions: list[Partition]) -> None:
    """Look at a node of each partition at once, while a lock is held here that they should see."""
    commands = probes(profile, partitions)
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("a+") as lock, ThreadPoolExecutor() as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, done in zip(commands, pool.map(_look, commands.values()), strict=True):
            print(f"\na node of partition {name}:\n{done.stdout}".rstrip(), flush=True)
            if done.returncode:
                print(f"  no answer: {' '.join(done.stderr.split())}")
                print(f"  if none was free try again, or by hand: {' '.join(commands[name])} ...")
    LOCK.unlink()


def _look(command: list[str]) -> subprocess.CompletedProcess[str]:
    look = [*command, sys.executable, str(Path(__file__).with_name("check_node.py"))]
    look += ["--lock", str(LOCK)]
    return subprocess.run(look, capture_output=True, text=True, check=False)


def probes(profile: Mapping[str, Any], partitions: list[Partition]) -> dict[str, list[str]]:
    """The srun of each partition: of the profile's, if it names any, with the profile's account."""
    account = profile["default-resources"].get("slurm_account")
    common = ["srun", f"--immediate={PROBED_SECONDS}", "--ntasks=1", "--mem=1000", "--time=5"]
    common += [f"--account={account}"] if account else []
    found = {}
    for part in partitions:
        if part.name in profile["partitions"] or not profile["partitions"]:
            a_gpu = ["--gres=gpu:1"] if part.gpus else []
            found[part.name] = [*common, f"--partition={part.name}", *a_gpu]
    return found


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
