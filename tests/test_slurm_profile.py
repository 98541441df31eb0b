"""The SLURM profile, and what rules ask for; without any SLURM."""

import logging
import re
import runpy
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import ROOT, SMOKE, copy_repository, run
from fingerprint import imported_files
from snakemake.api import SnakemakeApi
from snakemake.resources import Resources
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    ExecMode,
    OutputSettings,
    Quietness,
    ResourceSettings,
    WorkflowSettings,
)
from snakemake_executor_plugin_slurm.partitions import get_best_partition, read_partition_file
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string
from snakemake_executor_plugin_slurm.validation import validate_slurm_extra

TEXT = (ROOT / "slurm/config.yaml").read_text()
PROFILE = yaml.safe_load(TEXT)
GENERIC = {"gpu", "mem_mb", "runtime", "disk_mb", "cores_of_study", "_cores", "_nodes", "tmpdir"}
KINDS = ("h100", "a100")
CLUSTER = runpy.run_path(str(ROOT / "scripts/check_cluster.py"))


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


def test_what_takes_no_time_or_fetches_what_all_share_is_local(rules: Any) -> None:
    _, local = rules
    targets = {"all", "baseline", "training", "containers"}
    notes = {"note_conditions", "note_api_conditions"}
    assert local == targets | notes | {"fetch_model", "mle_dojo_checkout", "publish_metrics"}


def test_the_readme_names_the_jobs_that_need_the_internet_on_a_node(rules: Any) -> None:
    """Those whose code can fetch something, or build an image; a server's clients ask localhost."""
    named, local = rules
    fetch = re.compile(r"^ *(import|from) (urllib\.request|huggingface_hub)\b", re.MULTILINE)
    clients = {"vllm_server.py", "vllm_running.py", "vllm_requests.py"}
    online = {"build_container"}
    for name, rule in named.items():
        found = re.search(r"scripts/(\w+)\.py", rule.shellcmd or "")
        modules = imported_files(ROOT / f"scripts/{found[1]}.py") if found else set()
        if any(fetch.search(file.read_text()) for file in modules if file.name not in clients):
            online.add(name)
    # These import what fetches a base model, which fetch_model has done for them.
    online -= {"base_model", "generate_trajectories", "evaluate", "train_rl"}
    assert {"prepare_mle_dojo_competition", "evaluate_api_model"} <= online
    text = (ROOT / "slurm/README.md").read_text().partition("need the internet\n")[2]
    listed = set(re.findall(r"`(\w+)`", text.partition("\n## ")[0])) & set(named)
    assert listed - local == online - local


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


def test_containers_are_given_the_driver_of_the_gpus() -> None:
    assert "--nv" in PROFILE["apptainer-args"].split()


ONE_GPU = "config/qwen7b.yaml config/qwen7b_one_gpu.yaml"


@pytest.mark.parametrize("config", ["config/config.yaml", SMOKE, "config/qwen7b.yaml", ONE_GPU])
def test_a_study_is_planned_with_the_profile(tmp_path: Path, config: str) -> None:
    folder = copy_repository(tmp_path)
    options = ["--dry-run", "--quiet", "--profile", "slurm", "--configfile", *config.split()]
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
    ("config", "most", "programs"),
    [
        ("config/config.yaml", {}, {2, 3}),  # one more than threads
        ("config/config.yaml", {"mem_mb": 8000}, {1}),
        ("config/qwen7b.yaml", {}, {4}),
    ],
)
def test_programs_that_run_at_once_are_as_many_as_memory_holds(
    config: str, most: dict[str, int], programs: set[int]
) -> None:
    """With one share for the job itself."""
    sandbox = yaml.safe_load((ROOT / config).read_text())["sandbox"]
    each = sandbox["memory_mb"] + sandbox["scratch_mb"]
    play = [job for job in one_job_of_each_rule(config, most) if "--workers" in job.rule.shellcmd]
    assert {job.params.workers for job in play} == programs
    for job in play:
        assert job.params.workers <= job.threads + 1
        assert most or (job.params.workers + 1) * each <= job.resources.mem_mb


# One has the longest time, one the most memory, one the GPUs of nodes of neither.
MANY = """\
cpu|cpu*|up|4-00:00:00|20|64|100000|(null)
large|large|up|2-00:00:00|4|64|400000|(null)
old|old|up|7-00:00:00|8|8|500000|gpu:2
gpu|gpu|up|1-00:00:00|4|64|300000|gpu:8
"""
# A job without a GPU fills the nodes that have some better than those that have none.
TWO = """\
cpu|cpu*|up|14-00:00:00|40|128|1000000|(null)
gpu|gpu|up|1-00:00:00|4|32|256000|gpu:8
"""


@pytest.mark.parametrize(("site", "largest"), [(MANY, "large"), (TWO, "cpu")])
def test_whatever_attempt_it_is_a_job_fits_a_partition_for_such_jobs(
    tmp_path: Path, site: str, largest: str
) -> None:
    """As the plugin chooses it; one that fits none would go to the cluster's default partition."""
    profile = tmp_path / "config.yaml"
    profile.write_text(CLUSTER["proposal"](CLUSTER["read_partitions"](site), []))
    proposed = yaml.safe_load(profile.read_text())
    chosen: dict[str, set[str | None]] = {}
    for job in one_job_of_each_rule("config/qwen7b.yaml", proposed["resources"], proposed):
        for job.attempt in (1, 2, 3):
            best = get_best_partition(read_partition_file(profile), job, logging.getLogger())
            chosen.setdefault(job.rule.name, set()).add(best)
    for name in ("base_model", "generate_trajectories", "train_rl", "evaluate"):
        assert chosen.pop(name) == {"gpu"}, name
    assert len(chosen) > 15 and chosen["evaluate_yardsticks"] == {largest}
    assert all(found <= {"cpu", "large"} for found in chosen.values()), chosen


def test_a_job_knows_the_most_that_it_was_sent_with() -> None:
    """Its own Snakemake is not told the profile's resources, and counts its programs by them."""
    caps = {"cpu_mem_mb": 8000, "cpu_runtime": 25}
    counted = []
    for mode in (ExecMode.DEFAULT, ExecMode.REMOTE):
        jobs = one_job_of_each_rule(SMOKE, caps if mode is ExecMode.DEFAULT else {}, mode=mode)
        [job] = [job for job in jobs if job.rule.name == "generate_trajectories"]
        job.attempt = 3
        counted.append((job.resources.mem_mb, job.resources.runtime, job.params.workers))
    assert counted == [(8000, 25, 1)] * 2


@pytest.mark.parametrize(("typed", "each"), [({}, "gpu:8"), ({"gpu_type": "h100"}, "gpu:h100:8")])
def test_an_update_on_several_nodes_asks_for_its_gpus_on_each(
    tmp_path: Path, typed: dict[str, str], each: str
) -> None:
    """A sum of GPUs may be unequal, and is more than a partition's limit, which is of one node."""
    config, profile = tmp_path / "two.yaml", tmp_path / "config.yaml"
    text = (ROOT / "config/qwen7b.yaml").read_text()
    config.write_text(text.replace("\n  nodes: 1\n", "\n  nodes: 2\n"))
    profile.write_text(CLUSTER["proposal"](CLUSTER["read_partitions"](MANY), []))
    caps = yaml.safe_load(profile.read_text())["resources"]
    jobs = one_job_of_each_rule(str(config), caps, {"default-resources": typed})
    [job] = [job for job in jobs if job.rule.name == "train_rl"]
    assert set_gres_string(job) == f" --gres={each}"
    assert get_best_partition(read_partition_file(profile), job, logging.getLogger()) == "gpu"
    facts = dict.fromkeys(("run_uuid", "slurm_logfile", "comment_str", "account"), "x")
    sent = get_submit_command(job, facts | {"partition": "", "workdir": ""})
    assert "--nodes=2 --ntasks=2 --cpus-per-task=32" in sent and "--ntasks-per-gpu" not in sent
    assert " --gpus 16 " in job.shellcmd and "--gpus-per-node=8 " in job.shellcmd


@pytest.mark.parametrize("gpus", [0, 1])
def test_jobs_with_a_gpu_ask_for_its_type_those_of_variants_too(gpus: int) -> None:
    resources = yaml.safe_load((ROOT / "config/qwen7b.yaml").read_text())["resources"]
    few = {
        "seeds": [0],
        "variants": {"greedy": {"ppo": {"learning_rate": 0.1}}},
        "resources": {job: asked | {"gpu": gpus} for job, asked in resources.items()},
    }
    typed = {"default-resources": {"gpu_type": "a100"}}
    jobs = one_job_of_each_rule("config/qwen7b.yaml", {}, typed, few)
    asked = {job.rule.name: set_gres_string(job) for job in jobs}
    assert {"train_rl", "greedy__train_rl", "greedy__evaluate"} <= set(asked)
    players = {name for name in asked if re.search("(train_rl|evaluate)$", name)}
    assert {asked[name] for name in players} == {" --gpus=a100:1" if gpus else ""}
    assert asked["headline"] == asked["greedy__grade_evaluation"] == ""


def test_a_job_goes_where_its_type_of_gpu_is(tmp_path: Path) -> None:
    site = "".join(f"{kind}|{kind}|up|7-00:00:00|4|64|900000|gpu:{kind}:8\n" for kind in KINDS)
    profile = tmp_path / "config.yaml"
    profile.write_text(CLUSTER["proposal"](CLUSTER["read_partitions"](site), []))
    partitions = read_partition_file(profile)
    for kind in KINDS:
        typed = {"default-resources": {"gpu_type": kind}}
        jobs = one_job_of_each_rule("config/qwen7b.yaml", {}, typed)
        (update,) = (job for job in jobs if job.rule.name == "train_rl")
        assert get_best_partition(partitions, update, logging.getLogger()) == kind


def test_the_plugin_takes_the_options_that_are_for_every_job() -> None:
    """QOS and constraint among slurm_extra end a run with an error."""
    profile = yaml.safe_load(re.sub(r"^  # (?=qos|constraint)", "  ", TEXT, flags=re.MULTILINE))
    job = one_job_of_each_rule(SMOKE, {}, profile)[0]
    validate_slurm_extra(job)
    names = ("run_uuid", "slurm_logfile", "comment_str", "account", "partition", "workdir")
    command = get_submit_command(job, dict.fromkeys(names, ""))
    assert " -C 'skylake|icelake' --qos=long" in command and " --signal=URG@120" in command


def test_no_group_asks_for_more_than_two_hours() -> None:
    """The caps are those of one job; a group asks for the time of all, at every attempt."""
    asked = {
        job.rule.name: job
        for config in ("config/config.yaml", "config/qwen7b.yaml")
        for job in one_job_of_each_rule(config)
    }
    for group, together in PROFILE["group-components"].items():
        members = [asked[name] for name, own in PROFILE["groups"].items() if own == group]
        for job in members:
            job.attempt = 1 + PROFILE["retries"]
        chained = 1 if group == "analysis" else len(members)  # the others wait for one another
        longest = max(job.resources.runtime for job in members)
        assert together * chained * longest <= 120, group


def one_job_of_each_rule(
    config: str,
    caps: dict[str, int] | None = None,
    profile: dict[str, Any] | None = None,
    changes: dict[str, Any] | None = None,
    mode: ExecMode = ExecMode.DEFAULT,
) -> list[Any]:
    """Those of a study that are sent, with a profile's resources for every job."""
    defaults = (profile or {}).get("default-resources", {})
    expressions = [f"{name}={value}" for name, value in defaults.items()]
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, dryrun=True)) as api:
        workflow = api.workflow(
            ResourceSettings(
                cores=1_000,
                resources=caps or {},
                default_resources=Resources.parse(expressions, allow_expressions=True),
            ),
            ConfigSettings(configfiles=[ROOT / config], config=changes or {}),
            workflow_settings=WorkflowSettings(exec_mode=mode),
            snakefile=ROOT / "Snakefile",
        )
        with redirect_stdout(StringIO()):  # the graph itself; it is made on the way
            workflow.dag(DAGSettings()).printrulegraph()
        local = workflow._workflow._localrules
        jobs = {job.rule.name: job for job in workflow._workflow.dag.jobs}
        return [job for name, job in jobs.items() if name not in local and not job.is_norun]
