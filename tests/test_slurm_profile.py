"""The SLURM profile, what rules ask for, and what is read off a cluster; without any SLURM."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import ROOT, SMOKE, copy_repository, run
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings

PROFILE = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())
GENERIC = {"gpu", "mem_mb", "runtime", "disk_mb", "cores_of_study", "_cores", "_nodes", "tmpdir"}
CLUSTER = runpy.run_path(str(ROOT / "scripts/check_cluster.py"))
# What sinfo prints for a cluster with two kinds of node in one partition.
SINFO = """\
debug|debug|up|30:00|2|32|64000|(null)
gpu|gpu|up|2-00:00:00|8|64|512000|gpu:a100:4(S:0-1)
gpu|gpu|up|2-00:00:00|2|96+|1024000+|gpu:h100:8,shard:64
old|old|down|1:00:00|1|8|16000|gpu:2
long|long*|up|infinite|40|48|192000|(null)
"""


@pytest.fixture(scope="module")
def rules() -> Any:
    """Every rule by its name, also those that the embedded study has no use for; the local ones."""
    with (
        pytest.MonkeyPatch.context() as patch,
        SnakemakeApi(OutputSettings(dryrun=True)) as api,
    ):
        patch.chdir(ROOT)
        workflow = api.workflow(
            ResourceSettings(cores=1),
            ConfigSettings(configfiles=[ROOT / "config/qwen7b.yaml"]),
            snakefile=ROOT / "Snakefile",
        )
        workflow.dag(DAGSettings())
        named = {rule.name: rule for rule in workflow._workflow.rules}
        nothing = {name for name, rule in named.items() if rule.norun}
        yield named, nothing | workflow._workflow._localrules


def test_every_rule_that_is_sent_says_what_it_needs(rules: Any) -> None:
    named, local = rules
    sent = {name: rule for name, rule in named.items() if name not in local}
    assert len(sent) > 20 and {"prepare_competition", "train_rl", "headline"} <= set(sent)
    for name, rule in sent.items():
        assert {"mem_mb", "runtime"} <= set(rule.resources), name


def test_no_rule_knows_a_scheduler(rules: Any) -> None:
    named, _ = rules
    for name, rule in named.items():
        assert set(rule.resources) <= GENERIC, name


def test_what_needs_the_internet_or_does_nothing_is_local(rules: Any) -> None:
    _, local = rules
    targets = {"all", "baseline", "training", "containers"}
    assert local == targets | {"mle_dojo_checkout", "publish_metrics"}


def test_groups_are_of_rules_that_exist_and_have_one_place(rules: Any) -> None:
    named, _ = rules
    assert set(PROFILE["groups"]) <= set(named)
    assert set(PROFILE["group-components"]) <= set(PROFILE["groups"].values())
    assert PROFILE["default-resources"]["place"] == PROFILE["resources"]["place"] == 1
    assert PROFILE["set-resource-scopes"] == {"place": "local"}


def test_the_plugins_defects_are_worked_around() -> None:
    assert PROFILE["slurm-status-command"] == "squeue"
    assert PROFILE["retries"] >= 1
    for file in (ROOT / "workflow/rules").glob(
        "*.smk"
    ):  # it would be tried again in its allocation
        assert "retries" not in file.read_text()


@pytest.mark.parametrize("config", ["config/config.yaml", SMOKE, "config/qwen7b.yaml"])
def test_a_study_is_planned_with_the_profile(tmp_path: Path, config: str) -> None:
    folder = copy_repository(tmp_path)
    options = ["--dry-run", "--quiet", "--profile", "slurm", "--configfile", config]
    done = run(folder, "snakemake", *options)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_second_attempt_asks_for_more(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    target = "results/competitions/iris-log-loss-irrelevant-columns/competition.json"
    options = ["--dry-run", "--attempt", "3", "--profile", "slurm", "--configfile", SMOKE]
    done = run(folder, "snakemake", target, *options)
    assert "mem_mb=3000" in done.stdout and "runtime=12" in done.stdout, done.stderr


def test_an_update_asks_for_its_gpus_at_every_attempt_and_for_more_memory_and_time() -> None:
    config = "config/qwen7b.yaml"
    asked = yaml.safe_load((ROOT / config).read_text())["resources"]["update"]
    assert asked["gpu"] > 1
    options = ["--dry-run", "--attempt", "2", "--profile", "slurm", "--configfile", config]
    done = run(ROOT, "snakemake", "results/qwen7b/seed0/iteration1/checkpoint", *options)
    text = done.stdout.partition("rule train_rl:")[2].partition("\n\n")[0]
    told = dict(re.findall(r"(\w+)=(\d+)", text))
    assert (told["gpu"], told["nodes"]) == (str(asked["gpu"]), "1"), done.stderr
    assert told["mem_mb"] == str(2 * asked["mem_mb"])
    assert told["runtime"] == str(2 * asked["runtime"])


@pytest.mark.parametrize(
    ("script", "played", "trained"), [("run_baseline.sh", 1, 0), ("train_rl.sh", 0, 2)]
)
def test_a_script_starts_a_part_of_the_study(
    tmp_path: Path, script: str, played: int, trained: int
) -> None:
    folder = copy_repository(tmp_path)
    done = run(folder, f"scripts/{script}", "--dry-run", "--configfile", SMOKE)
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE))
    assert int(counts.get("evaluate", 0)) == played, done.stderr
    assert int(counts.get("train_rl", 0)) == trained


def test_partitions_are_read_with_their_largest_node() -> None:
    long, debug, gpu = CLUSTER["read_partitions"](SINFO)
    assert (long.name, long.default, long.minutes, long.gpus) == ("long", True, None, 0)
    assert (debug.minutes, debug.nodes, debug.memory_mb) == (30, 2, 64000)
    assert (gpu.minutes, gpu.nodes, gpu.processors, gpu.memory_mb) == (2880, 10, 96, 1024000)
    assert (gpu.gpus, gpu.types) == (8, ("a100", "h100"))


def test_what_is_proposed_is_the_first_part_of_the_profile() -> None:
    text = CLUSTER["proposal"](CLUSTER["read_partitions"](SINFO), ["mine", "ours"])
    proposed = yaml.safe_load(text)
    assert proposed["partitions"]["gpu"] == {
        "max_runtime": 2880,
        "max_mem_mb": 1024000,
        "max_threads": 96,
        "max_gpu": 8,
    }
    assert proposed["resources"] == {"place": 1, "mem_mb": 1024000}  # one has no time limit
    shipped = {key: PROFILE[key] for key in proposed}
    assert shipped["default-resources"] | {"slurm_account": "mine"} == proposed["default-resources"]
    assert "# gpu has a100, h100: see gpu_model there" in text and "# or ours" in text


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


@pytest.mark.parametrize(("age", "word"), [("300 sec", "enough"), ("2 sec", "lost"), ("", "lost")])
def test_a_cluster_that_forgets_jobs_at_once_is_reported(age: str, word: str) -> None:
    assert word in CLUSTER["remembered"](age)
