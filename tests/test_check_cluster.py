"""What `make cluster-check` reads off a cluster and proposes; without any SLURM."""

import os
import runpy
import socket
from pathlib import Path

import pytest
import yaml
from checkout import ROOT, copy_repository, run

PROFILE = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())
CLUSTER, NODE = (
    runpy.run_path(str(ROOT / f"scripts/check_{what}.py")) for what in ("cluster", "node")
)
# What sinfo prints for a cluster with two kinds of node in one partition: a line for each of them.
SINFO = """\
debug|debug|up|30:00|2|32|64000|(null)
gpu|gpu|up|2-00:00:00|8|64|512000|gpu:a100:4(S:0-1)
gpu|gpu|up|2-00:00:00|2|96|1048576|gpu:h100:8,shard:64
old|old|down|1:00:00|1|8|16000|gpu:2
long|long*|up|infinite|40|48|192000|(null)
"""


def test_partitions_are_read_with_their_largest_node() -> None:
    long, debug, gpu = CLUSTER["read_partitions"](SINFO)
    assert (long.name, long.default, long.minutes, long.gpus) == ("long", True, None, 0)
    assert (debug.minutes, debug.nodes, debug.memory_mb) == (30, 2, 64000)
    assert (gpu.minutes, gpu.nodes, gpu.processors, gpu.memory_mb) == (2880, 10, 96, 1048576)
    assert (gpu.gpus, gpu.types) == (8, ("a100", "h100"))
    assert {"--exact", "--noconvert"} <= set(CLUSTER["SINFO"])  # no "64+" for both, and no "1M"


@pytest.mark.parametrize(
    ("gres", "gpus", "types"),
    [
        ("gpu:4", 4, ()),
        ("gpu:nvidia_a100-sxm4-80gb:4(S:0-1)", 4, ("nvidia_a100-sxm4-80gb",)),
        ("gpu:a100_1g.10gb:7", 7, ("a100_1g.10gb",)),
        ("gpu:1g.10gb:14,gpu:2g.20gb:7", 21, ("1g.10gb", "2g.20gb")),
        ("gpu:rtx-a6000:4,gpu:rtx3090:2", 6, ("rtx-a6000", "rtx3090")),
        ("shard:a100:8,xgpu:3", 0, ()),
    ],
)
def test_gpus_are_counted_whatever_their_type_is_called(
    gres: str, gpus: int, types: tuple[str, ...]
) -> None:
    (found,) = CLUSTER["read_partitions"](f"gpu|gpu|up|1:00:00|2|32|64000|{gres}\n")
    assert (found.gpus, found.types) == (gpus, types)


def test_what_is_proposed_is_the_first_part_of_the_profile() -> None:
    text = CLUSTER["proposal"](CLUSTER["read_partitions"](SINFO), ["mine", "ours"])
    proposed = yaml.safe_load(text)
    assert proposed["partitions"]["gpu"] == {
        "max_runtime": 2880,
        "max_mem_mb": 1048576,
        "max_threads": 96,
        "max_gpu": 8,
        "available_gpu_models": ["a100", "h100"],
        "max_mpi_tasks": 0,
    }
    assert "max_mpi_tasks" not in proposed["partitions"]["long"]
    of_gpu = {"gpu_mem_mb": 1048576, "gpu_runtime": 2880}
    assert proposed["resources"] == {"place": 1, "cpu_mem_mb": 192000, **of_gpu}  # long is endless
    assert PROFILE["default-resources"] == proposed["default-resources"]
    assert "  # gpu_type: one of a100, h100, which gpu has" in text
    assert "  # slurm_account: mine or ours, if not your default" in text


def test_where_all_nodes_have_gpus_they_take_every_job() -> None:
    text = CLUSTER["proposal"](CLUSTER["read_partitions"](SINFO.splitlines()[1]), [])
    assert "max_gpu: 4" in text and "max_mpi_tasks" not in text


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a command of SLURM that refuses is put, as there is no SLURM."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_accounts_are_the_default_one_and_the_others(commands: Path) -> None:
    (commands / "sacctmgr").write_text("#!/bin/sh\nprintf 'ours|mine\\nours|ours\\nours|all\\n'\n")
    (commands / "sacctmgr").chmod(0o755)
    assert CLUSTER["read_accounts"]() == ["ours", "all", "mine"]
    refusing(commands, "sacctmgr", "sacctmgr: error: no accounting here")
    assert CLUSTER["read_accounts"]() == []


def refusing(commands: Path, name: str, message: str) -> None:
    (commands / name).write_text(f"#!/bin/sh\necho '{message}' >&2\nexit 1\n")
    (commands / name).chmod(0o755)


def test_a_node_of_each_partition_is_looked_at_through_the_profiles_account(
    commands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    partitions = CLUSTER["read_partitions"](SINFO)
    probes = CLUSTER["probes"](PROFILE, partitions)
    assert list(probes) == ["long", "debug", "gpu"]
    assert [probe[-1] for probe in probes.values()] == [
        "--partition=long",
        "--partition=debug",
        "--gres=gpu:1",
    ]
    assert not any("--account" in word for probe in probes.values() for word in probe)
    site = {"partitions": {"gpu": {}}, "default-resources": {"slurm_account": "ours"}}
    (probe,) = CLUSTER["probes"](site, partitions).values()
    assert {"--account=ours", "--partition=gpu", "--gres=gpu:1"} <= set(probe)

    refusing(commands, "srun", "srun: error: Invalid account")
    CLUSTER["probe_nodes"](site, partitions)
    told = capsys.readouterr().out
    assert "a node of partition gpu:\n  no answer: srun: error: Invalid account\n" in told
    assert "by hand: srun --immediate=60" in told


@pytest.mark.parametrize(
    ("script", "command"),
    [(["resume.py", "--", "--profile", "slurm"], "squeue"), (["check_cluster.py"], "scontrol")],
)
def test_what_slurm_says_is_the_error(commands: Path, script: list[str], command: str) -> None:
    refusing(commands, "sinfo", "")
    refusing(commands, command, f"{command}: error: Unable to contact slurm controller")
    folder = copy_repository(commands / "study")
    done = run(folder, "python", f"scripts/{script[0]}", *script[1:])
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"error: {command}: error: Unable to contact slurm controller; ")


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [
        ("infinite", None),
        ("30:00", 30),
        ("1:00:00", 60),
        ("2-00:00:00", 2880),
        ("1-12:30:00", 2190),
    ],
)
def test_slurms_times_are_minutes(limit: str, minutes: int | None) -> None:
    assert CLUSTER["read_minutes"](limit) == minutes


@pytest.mark.parametrize(
    ("age", "word"),
    [("300 sec", "enough"), ("180 sec", "sacct"), ("60 sec", "sacct"), ("", "sacct")],
)
def test_a_cluster_that_forgets_jobs_between_two_looks_is_reported(age: str, word: str) -> None:
    """The executor looks every three minutes at last, however short its first interval is."""
    assert word in CLUSTER["remembered"](age)


def test_a_cluster_that_ends_preempted_jobs_is_reported() -> None:
    facts = dict(CLUSTER["cluster_facts"]({"PreemptMode": "CANCEL"}, [], []))
    assert "waits for it for ever" in facts["preemption"]
    assert dict(CLUSTER["cluster_facts"]({}, [], []))["preemption"] == "OFF"
    assert CLUSTER["preempted"]("GANG,SUSPEND") == "GANG,SUSPEND"


def test_a_host_is_reached_itself_or_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    assert NODE["reached"]("no-such-host.invalid") == "no"
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("https_proxy", proxy)
        assert NODE["reached"]("no-such-host.invalid") == "through the proxy"
    assert NODE["reached"]("no-such-host.invalid") == "no"
