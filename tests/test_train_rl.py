"""The script of an update under torchrun, and what the rule starts it with."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import ROOT, SMOKE, configure, copy_repository, run, snakemake
from made_up import episode, turn
from verl_toys import TORCHRUN

from agent.core.model_folder import model_digest
from agent.core.trajectories import write_trajectories

LORA = {"rank": 4, "alpha": 8, "targets": ["q_proj", "v_proj"]}


@pytest.fixture(scope="module")
def shards(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes of the tiny model, longer the better they went."""
    folder = tmp_path_factory.mktemp("shards")
    episodes = [
        episode([turn(number / 8)] * (1 + number % 3), episode=number) for number in range(8)
    ]
    digest = model_digest(tiny_model)
    played = [replace(each, policy=digest) for each in episodes]
    write_trajectories(folder / "shard0.parquet", played, {})
    return folder


def train(folder: Path, shards: Path, model: Path, update: dict[str, Any], command: str) -> str:
    """What the script says that a shell starts; its files are in `folder`."""
    config = yaml.safe_load((ROOT / SMOKE).read_text())
    config["update"] |= update
    inline = json.dumps({name: config[name] for name in ("rewards", "ppo", "update")})
    places = {
        "--trajectories-dir": shards,
        "--base-model": model,
        "--output-dir": folder / "checkpoint",
        "--metrics": folder / "metrics.json",
        "--tensorboard": folder / "tensorboard",
        "--timing": folder / "timing.json",
        "--config": inline,
    }
    options = [str(text) for pair in places.items() for text in pair]
    done = run(ROOT, "bash", "-c", f'{command} "$@"', "bash", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_of_several_processes_writes(
    tmp_path: Path, shards: Path, tiny_model: Path
) -> None:
    update = {"lora": LORA, "tokens_per_process": 768}
    said = [
        train(tmp_path / name, shards, tiny_model, update, f"{launcher} scripts/train_rl.py")
        for name, launcher in (("one", "python"), ("two", " ".join(["python", *TORCHRUN])))
    ]
    assert [text.count("mean_best_position") for text in said] == [1, 1]
    one, two = (json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("one", "two"))
    assert two == pytest.approx(one, rel=1e-3, abs=1e-5)
    assert len(list((tmp_path / "two/tensorboard").iterdir())) == 1
    assert (tmp_path / "two/timing.json").is_file()
    saved = (tmp_path / "two/checkpoint/verl/actor").glob("model_world_size_2_rank_*.pt")
    assert len(list(saved)) == 2


PLANS: list[tuple[int, int, str, dict[str, str]]] = [
    (0, 1, "python scripts/train_rl.py", {"gpu": "0"}),
    (1, 1, "python scripts/train_rl.py", {"gpu": "1"}),
    (
        2,
        1,
        "python -m torch.distributed.run --nproc-per-node 2 --standalone scripts/train_rl.py",
        {"gpu": "2"},
    ),
    (
        1,
        2,
        "srun --nodes=2 --ntasks-per-node=1 --cpus-per-task=1 --gpus-per-node=1 "
        "python -m torch.distributed.run --nproc-per-node 1 --nnodes 2 --rdzv-backend c10d "
        "--rdzv-id $SLURM_JOB_ID --rdzv-endpoint $(hostname):$((20000 + SLURM_JOB_ID % 10000)) "
        "scripts/train_rl.py",
        {"gres": "gpu:1", "nodes": "2", "tasks": "2", "mpi": "srun"},
    ),
]


# Starts a command as often as there are nodes, all of them here.
SRUN = """
srun() {
    while [[ $1 == --* ]]; do shift; done
    "$@" & local other=$!
    "$@" && wait $other
}
"""


def test_an_update_on_several_nodes_meets_at_a_port_of_its_own(
    tmp_path: Path, shards: Path, tiny_model: Path
) -> None:
    """The seeds' updates run at once, and the first node of two may be the same."""
    *_, (_, nodes, command, _) = PLANS
    endpoint = command.partition("--rdzv-endpoint ")[2].partition(" scripts/")[0]
    first = os.getpid()
    jobs = [f"SLURM_JOB_ID={number}" for number in (first, first + 1)]
    told = [run(ROOT, "bash", "-c", f"{job}; echo {endpoint}").stdout for job in jobs]
    ports = [int(text.rpartition(":")[2]) for text in told]
    assert ports[0] != ports[1] and all(20000 <= port < 30000 for port in ports)

    update = {"nodes": nodes, "lora": LORA, "tokens_per_process": 768}
    said = train(tmp_path, shards, tiny_model, update, f"{SRUN} {jobs[0]}; {command}")
    assert said.count("mean_best_position") == 1
    saved = (tmp_path / "checkpoint/verl/actor").glob("model_world_size_2_rank_*.pt")
    assert len(list(saved)) == 2


@pytest.mark.parametrize(("gpus", "nodes", "command", "asked"), PLANS)
def test_the_rule_starts_a_process_for_each_gpu(
    gpus: int, nodes: int, command: str, asked: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_repository(tmp_path)
    configure(folder, "resources.update.gpu", gpus)
    configure(folder, "update.nodes", nodes)
    done = snakemake(folder, "--dry-run", "--printshellcmds", "training")
    assert done.returncode == 0, done.stderr
    rule = done.stdout.split("rule train_rl:")[1]
    (_, given), *_ = (line.split(":", 1) for line in rule.splitlines() if " resources:" in line)
    resources = dict(pair.split("=", 1) for pair in given.strip().split(", "))
    assert f"Shell command: {command} --trajectories-dir" in rule
    assert asked.items() <= resources.items()
    assert f" --gpus {gpus * nodes} " in rule
    assert nodes > 1 or "mpi" not in resources


def test_several_nodes_are_not_started_from_within_a_container(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    configure(folder, "update.nodes", 2)
    done = snakemake(folder, "--dry-run", "--sdm=apptainer", "--", "training")
    assert done.returncode == 1
    assert "error: update.nodes: --sdm apptainer has no srun" in done.stderr
