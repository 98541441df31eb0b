"""The configuration: every key described and checked, every mistake one line before any job."""

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from checkout import ROOT, SMOKE, configure, copy_repository, snakemake
from configuration import SCHEMA, find_problem, prompts_files
from jsonschema import Draft202012Validator
from snakemake.utils import update_config
from variations import changes, variants

from agent.core.local_model import SamplingSettings
from agent.core.records import PPOSettings, UpdateSettings
from agent.core.settings import section
from agent.rollout import EnvironmentSettings, EpisodeSettings
from agent.sandbox.opening import SandboxSettings
from agent.training.rejection_sampling import RFTSettings
from agent.training.rewards import RewardSettings
from agent.training.teacher import TeacherSettings
from agent.training.warm_start import WarmStartSettings

RECORDS: dict[str, type] = {
    "teacher": TeacherSettings,
    "warm_start": WarmStartSettings,
    "sampling": SamplingSettings,
    "episode": EpisodeSettings,
    "environment": EnvironmentSettings,
    "sandbox": SandboxSettings,
    "rewards": RewardSettings,
    "rft": RFTSettings,
    "ppo": PPOSettings,
    "update": UpdateSettings,
}
ONE_GPU = "config/qwen7b.yaml config/qwen7b_one_gpu.yaml"  # the second changes the first
SHIPPED = ("config/config.yaml", "config/qwen7b.yaml", ONE_GPU, SMOKE)
Config = dict[str, Any]


def read(path: str | Path) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def merged(*paths: str) -> Config:
    """As Snakemake reads them after --configfile."""
    config: Config = {}
    for path in paths:
        update_config(config, read(path))
    return config


def keys(config: Config) -> Iterator[tuple[str, ...]]:
    for name, value in config.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, key) for key in value)


KEYS = [".".join(key) for key in keys(read(SMOKE))]


def with_value(key: str, value: object) -> Config:
    config = copy.deepcopy(read(SMOKE))
    *sections, last = key.split(".")
    place = config[sections[0]] if sections else config
    place[last] = value
    return config


def problem(config: Config) -> str:
    """What is wrong with a variant of the smoke study's configuration; always one line."""
    found = find_problem(config, [ROOT / SMOKE])
    assert found is not None and "\n" not in found
    return found


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("path", SHIPPED)
def test_shipped_configurations_can_be_run(path: str) -> None:
    assert find_problem(merged(*path.split())) is None


def test_one_gpu_updates_adapters_and_each_change_is_one() -> None:
    whole, changed = merged("config/qwen7b.yaml"), merged(*ONE_GPU.split())
    given = read(ONE_GPU.split()[1])
    assert set(given) == {"study", "resources", "ppo", "rft", "update"}
    assert all(changed[name] != whole[name] for name in given)
    for name in ("ppo", "rft", "update"):
        assert all(changed[name][key] != whole[name][key] for key in given[name])
    assert changed["resources"]["update"]["gpu"] == 1
    rates = changed["ppo"]["learning_rate"], changed["rft"]["learning_rate"]
    assert changed["update"]["lora"] and min(rates) >= 1e-5  # or bfloat16 rounds the steps away


def test_the_schema_is_one_and_describes_every_key_strictly() -> None:
    schema = read(SCHEMA)
    Draft202012Validator.check_schema(schema)
    for part in (schema, *schema["properties"].values()):
        if part.get("type") == "object" and "properties" in part:  # names of variants are free
            assert part["additionalProperties"] is False
            assert set(part["required"]) == set(part["properties"])
            assert all(value.get("description") for value in part["properties"].values())


def embedded(path: str) -> Config:
    """The embedded study, changed by a file that names variants of it."""
    return merged("config/config.yaml", path)


def test_the_algorithms_variants_can_be_run_and_set_what_the_study_does_not() -> None:
    config = embedded("config/algorithms.yaml")
    assert find_problem(config) is None
    assert all(changes(own, config) for own in variants(config).values())


def test_the_ablations_change_the_embedded_study_and_can_be_run() -> None:
    config = embedded("config/ablations.yaml")
    assert find_problem(config) is None
    made = variants(config)
    assert len(made) == 5
    shared = {name for name, own in made.items() if own["start"] == "results/ablations"}
    assert shared == {"no_validity_ladder__", "no_gae__", "no_kl_penalty__"}
    own = made["no_gae__"]
    assert (own["study"], own["ppo"]["gae_lambda"]) == ("ablations/variants/no_gae", 1.0)
    assert changes(own, config) == "ppo.gae_lambda=1.0" and config["ppo"]["gae_lambda"] != 1.0


WRONG_VARIANTS = {
    "name": ({"Name": {"ppo": {"epochs": 2}}}, "'Name' does not match"),
    "section": ({"one": {"study": {"a": 1}}}, "'study' is not one of"),
    "key": ({"one": {"ppo": {"epoch": 2}}}, "variants.one.ppo.epoch: unknown key"),
    "value": ({"one": {"ppo": {"epochs": -1}}}, "variants.one.ppo.epochs: -1 is less than"),
    "fit": ({"one": {"training": {"shards": 3}}}, "variants.one.training.episodes: 16 must be"),
}


@pytest.mark.parametrize("name", WRONG_VARIANTS)
def test_a_variant_that_cannot_be_run_is_named(name: str) -> None:
    value, message = WRONG_VARIANTS[name]
    assert message in problem(with_value("variants", value))


@pytest.mark.parametrize("name", RECORDS)
def test_a_section_is_what_its_program_reads(name: str) -> None:
    fields = {field.name for field in dataclasses.fields(RECORDS[name])}
    assert fields == set(read(SCHEMA)["properties"][name]["properties"])
    for path in SHIPPED:
        section(merged(*path.split()), name, RECORDS[name])


def test_the_miniature_has_the_same_competitions_in_the_same_groups() -> None:
    whole = pd.read_csv(ROOT / "config/competitions.tsv", sep="\t")
    part = pd.read_csv(ROOT / "config/smoke_competitions.tsv", sep="\t")
    assert len(whole.merge(part)) == len(part) > 0


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named(key: str) -> None:
    config = copy.deepcopy(read(SMOKE))
    *sections, last = key.split(".")
    del (config[sections[0]] if sections else config)[last]
    assert f"'{last}' is a required property" in problem(config)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", [{"unheard": "of"}, -7.5, [["nested"]]])
def test_a_value_of_the_wrong_kind_is_named(key: str, value: object) -> None:
    found = problem(with_value(key, value))
    assert f": {key}" in found


@pytest.mark.parametrize("key", ["typo", *(f"{name}.typo" for name in RECORDS)])
def test_an_unknown_key_is_named_with_the_known_ones(key: str) -> None:
    found = problem(with_value(key, 1))
    assert f": {key}: unknown key; known are " in found


@pytest.mark.parametrize(
    "key", ["ppo.learning_rate", "ppo.adam_epsilon", "rewards.failure_penalty"]
)
def test_a_number_that_yaml_reads_as_text_is_rejected_with_the_remedy(key: str) -> None:
    text = yaml.safe_load("1e-6")
    assert text == "1e-6"
    found = problem(with_value(key, text))
    assert key in found and "like 1.0e-6" in found


def test_a_job_that_runs_programs_has_memory_for_one() -> None:
    told = problem(with_value("sandbox.memory_mb", 6000))
    assert told.startswith(f"{SMOKE}: resources.rollouts.mem_mb: 10000 does not hold a program")
    assert told.endswith("give 12512 or more, or lower those")


def test_a_vllm_server_is_a_jobs_own_or_a_running_one() -> None:
    running = {"url": "http://gpu-node:8000", "api_key": "MY_KEY", "wait_seconds": 1}
    assert find_problem(with_value("vllm", running)) is None
    for wrong, told in (
        (running | {"url": "gpu-node:8000"}, "vllm.url: 'gpu-node:8000' does not match"),
        (running | {"python": "python"}, "vllm.python: unknown key; known are url, api_key, wait"),
        ({"python": "python"}, "vllm: 'tensor_parallel' is a required property"),
    ):
        assert told in problem(with_value("vllm", wrong))


REVISION = "0123456789" * 4
API_MODEL = {"name": "large", "url": "http://localhost:8000/v1", "model": "m", "key_variable": None}
API_MODEL |= {"token_budget": 1, "options": {}, "agent": "ours"}
MISTAKES: list[tuple[str, object, str, str]] = [
    ("study", "../elsewhere", "study", "does not match"),
    ("study", "competitions", "study", "should not be valid"),
    ("seeds", [1, 1], "seeds", "non-unique"),
    ("seeds", [], "seeds", "non-empty"),
    ("competitions", "config/none.tsv", "competitions", "no file config/none.tsv"),
    ("training.shards", 0, "training.shards", "less than the minimum of 1"),
    ("training.shards", 3, "training.episodes", "multiple of training.shards 3"),
    ("training.rft_iterations", 3, "training.rft_iterations", "more than training.iterations 2"),
    ("training.staleness", 2, "training.staleness", "is not one of [0, 1]"),
    ("training.staleness", 1, "update.rollout_correction", "an older policy plays"),
    ("ppo.microbatch_size", 3, "ppo.minibatch_size", "multiple of ppo.microbatch_size 3"),
    ("ppo.minibatch_size", 32, "ppo.minibatch_size", "more than training.episodes 16"),
    ("ppo.advantage", "ppo", "ppo.advantage", "is not one of ['gae', 'grpo', 'rloo'"),
    ("ppo.critic_warmup", 2, "ppo.critic_warmup", "leaves none to the actor"),
    ("ppo.duration_aware", True, "sandbox.remember_programs", "remembered programs take no time"),
    ("ppo.dual_clip", 1, "ppo.dual_clip", "less than or equal to the minimum of 1"),
    ("rewards.milestone_credit", 0.05, "rewards.milestone_credit", "must still cost"),
    ("update.nodes", 0, "update.nodes", "less than the minimum of 1"),
    ("update.precision", "fp16", "update.precision", "not one of ['fp32', 'bf16']"),
    ("update.tokens_per_process", 500, "update.tokens_per_process", "less than the 768 of samp"),
    ("update.lora", {"rank": 8, "alpha": 8}, "update.lora", "'targets' is a required"),
    ("update.rollout_correction", {"level": "token"}, "update.rollout_correction", "'threshold'"),
    ("update.nodes", 3, "ppo.minibatch_size", "12, a microbatch in each of the 3 processes"),
    ("evaluation.api_models", [API_MODEL] * 2, "evaluation.api_models", "two are called large"),
    ("evaluation.api_models", [API_MODEL | {"agent": "aide"}], "mle_dojo", "large plays with aide"),
    ("evaluation.curve_iterations", [2], "evaluation.curve_iterations", "2 is not between"),
    ("evaluation.curve_iterations", [0], "evaluation.curve_iterations.0", "minimum of 1"),
    ("sampling.context_tokens", 800, "sampling.context_tokens", "768 of warm_start"),
    ("sampling.max_new_tokens", 768, "sampling.max_new_tokens", "no room for a prompt"),
    ("warm_start.hidden_size", 66, "warm_start.hidden_size", "multiple of twice"),
    (
        "episode.prompts",
        "missing",
        "episode.prompts",
        "missing.yaml; name a YAML file",
    ),
    ("episode.action_format", "xml", "episode.action_format", "not one of ['block', 'tool_call']"),
    ("episode.action_format", "tool_call", "episode.action_format", "warm start's teacher"),
    (
        "sampling.context_policy",
        "forget",
        "sampling.context_policy",
        "['stop', 'truncate', 'segment']",
    ),
    ("base_model.source", "./missing", "base_model.source", "no folder ./missing"),
    ("base_model.source", "/missing", "base_model.source", "no folder /missing"),
    ("base_model.source", "Qwen/Qwen2.5-0.5B", "base_model.revision", "give the commit"),
    ("base_model.revision", "main", "base_model.revision", "does not match"),
]


@pytest.mark.parametrize(("key", "value", "place", "message"), MISTAKES)
def test_a_mistake_is_one_line_with_key_and_remedy(
    key: str, value: object, place: str, message: str
) -> None:
    found = problem(with_value(key, value))
    assert found.startswith(f"{SMOKE}: {place}: ") and message in found


def test_agents_of_mle_dojo_play_with_our_engine() -> None:
    config = with_value("evaluation.api_models", [API_MODEL | {"agent": "aide"}])
    config["evaluation"]["scoring"] = "upstream"
    config["environment"] = {"engine": "upstream", "scoring": "upstream"}
    config["mle_dojo"] = read("config/qwen7b.yaml")["mle_dojo"]
    found = problem(config)
    assert "environment.engine: upstream confines no program, but large plays with aide" in found


def test_a_critic_that_does_not_exist_cannot_warm_up() -> None:
    config = with_value("ppo.advantage", "reinforce_plus_plus")
    config["ppo"]["critic_warmup"] = 1
    assert "ppo.critic_warmup: 1, but ppo.advantage reinforce_plus_plus" in problem(config)


def test_a_critic_warms_up_after_imitation() -> None:
    config = with_value("training.iterations", 4)
    config["training"]["rft_iterations"] = config["ppo"]["critic_warmup"] = 2
    assert "ppo.critic_warmup: 2 counts from the first iteration and is over" in problem(config)
    config["ppo"]["critic_warmup"] = 3
    assert find_problem(config) is None


@pytest.mark.parametrize("advantage", ["grpo", "rloo"])
def test_estimators_that_compare_need_two_episodes_of_each_competition(advantage: str) -> None:
    config = with_value("competitions", "config/competitions.tsv")
    assert find_problem(config) is None
    config["ppo"]["advantage"] = advantage
    assert "training.episodes: 16 is less than two for each of the" in problem(config)
    assert find_problem(with_value("ppo.advantage", advantage)) is None


@pytest.mark.parametrize("sampling", ["category", "learnability"])
@pytest.mark.parametrize("advantage", ["grpo", "rloo"])
def test_estimators_that_compare_need_all_competitions_played(
    advantage: str, sampling: str
) -> None:
    config = with_value("training.competition_sampling", sampling)
    assert find_problem(config) is None
    config["ppo"]["advantage"] = advantage
    told = problem(config)
    assert told.startswith(f"{SMOKE}: training.competition_sampling: {sampling} may play")
    assert f"ppo.advantage {advantage} compares" in told and "set it to uniform, or" in told


def test_a_model_of_the_hub_with_its_commit_is_accepted() -> None:
    config = with_value("base_model.source", "Qwen/Qwen2.5-0.5B")
    config["base_model"]["revision"] = REVISION
    assert find_problem(config) is None


@pytest.mark.parametrize("policy", ["truncate", "segment"])
def test_forgotten_turns_and_discounting_do_not_go_together(policy: str) -> None:
    config = with_value("sampling.context_policy", policy)
    assert find_problem(config) is None
    config["ppo"]["gamma"] = 0.99
    assert "ppo.gamma: 0.99 discounts what is earned after" in problem(config)


def test_prompts_of_ones_own_are_read_before_any_job(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: zero_shot\ntask: '{{ tusk }}'\n")
    found = problem(with_value("episode.prompts", str(mine)))
    assert "episode.prompts: " in found and "task has unknown placeholders ['tusk']" in found
    mine.write_text("extends: zero_shot\ntask: '{{ inherited }} Go.'\n")
    config = with_value("episode.prompts", str(mine))
    assert find_problem(config) is None
    assert prompts_files(config) == [str(mine), "agent/core/prompts/zero_shot.yaml"]


ROW = "iris-log-loss-irrelevant-columns\ttrain\tiris\tclassification"
HELD_OUT = "grunfeld-mae-outliers\theld_out\tgrunfeld\tregression"
TABLES = {
    "unknown competition": (
        "nonsense\ttrain\tiris\tclassification",
        "nonsense, which is neither",
    ),
    "unknown group": (ROW.replace("train", "training"), "training, not train, validation or"),
    "twice": (f"{ROW}\n{ROW}", "iris-log-loss-irrelevant-columns twice"),
    "leak": (
        "grunfeld-rmsle-skewed-target\ttrain\tgrunfeld\tregression",
        "data set grunfeld is in",
    ),
    "no training": ("", "no competition of group train"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_wrong_table_of_competitions_is_explained(tmp_path: Path, name: str) -> None:
    rows, message = TABLES[name]
    path = tmp_path / "competitions.tsv"
    path.write_text(f"competition\tgroup\tdata_set\ttask_type\n{HELD_OUT}\n{rows}\n")
    found = problem(with_value("competitions", str(path)))
    assert ": competitions: " in found and str(path) in found and message in found


def test_a_table_without_its_columns_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "competitions.tsv"
    path.write_text("competition,group\n")
    assert "lacks the columns competition, group" in problem(with_value("competitions", str(path)))


def test_the_workflow_stops_before_any_job_with_one_line(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    configure(folder, "ppo.learning_rate", "1e-6")
    done = snakemake(folder, "--cores", "1", "--quiet", "all")
    assert done.returncode == 1 and not (folder / "results").exists()
    (line,) = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert line == (
        f"error: {SMOKE}: ppo.learning_rate: '1e-6' is not of type 'number'; "
        "write it without quotes and with a dot, like 1.0e-6"
    )


def test_values_given_on_the_command_line_have_their_types(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    given = ["seeds=[0,1,2]", "ppo={learning_rate: 0.01}", "study=other"]
    done = snakemake(folder, "--dry-run", "--printshellcmds", "--config", *given)
    assert done.returncode == 0, done.stderr
    assert "results/other/seed2/iteration1/checkpoint" in done.stdout
    assert '"learning_rate": 0.01' in done.stdout


def test_a_key_given_on_the_command_line_is_named_as_such(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    done = snakemake(folder, "--dry-run", "--config", "typo=1")
    assert done.returncode == 1
    assert "error: --config: typo: unknown key" in done.stderr
