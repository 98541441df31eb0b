"""Whether a configuration can be run, found out before any job starts."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from training_checks import Config, Key, Problem, group_problems, training_problems
from variations import variant

from agent.core.prompts import PromptManager
from agent.wrappers.vllm_settings import check_python

ROOT = Path(__file__).parents[2]
DEFAULT = "config/config.yaml"
SCHEMA = Path(__file__).parents[1] / "schemas" / "config.schema.yaml"
LEADERBOARDS = Path("config/leaderboards")
CATALOGUE = Path("config/mle_dojo/competitions.csv")
GROUPS = ("train", "validation", "held_out")
COLUMNS = ["competition", "group", "data_set", "task_type"]


def find_problem(config: Config, overriding: Sequence[Path] = ()) -> str | None:
    """The first thing wrong with a configuration as one line naming file and key, or None.

    `overriding` are the configuration files given on the command line, the last of which wins.
    Paths in the configuration are relative to the working directory.
    """
    problem = (
        next(_schema_problems(config), None)
        or next(_other_problems(config), None)
        or next(_variant_problems(config), None)
    )
    if problem is None:
        return None
    key, text = problem
    place = ".".join(map(str, key)) or "top level"
    return f"{_origin(key, [*reversed(overriding), Path(DEFAULT)])}: {place}: {text}"


def find_missing_vllm(config: Config, overriding: Sequence[Path] = ()) -> str | None:
    """That the jobs' own server could not start, as one line; only those that play need it."""
    if config["vllm"] is not None and "url" not in config["vllm"]:
        try:
            check_python(config["vllm"]["python"])
        except RuntimeError as missing:
            files = [*reversed(overriding), Path(DEFAULT)]
            return f"{_origin(('vllm', 'python'), files)}: {missing}"
    return None


def with_types(value: Any) -> Any:
    """What was given with --config: inside its lists and sections Snakemake reads only text."""
    if isinstance(value, Mapping):
        return {key: with_types(held) for key, held in value.items()}
    if isinstance(value, list):
        return [with_types(held) for held in value]
    return yaml.safe_load(value) if isinstance(value, str) else value


def prompts_files(config: Config) -> list[str]:
    """The templates that the configuration names, and those that they extend."""
    files = PromptManager(config["episode"]["prompts"]).files
    return [str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path) for path in files]


def _schema_problems(config: Config) -> Iterator[Problem]:
    error = best_match(_validator().iter_errors(config))
    if error is None:
        return
    key = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        unknown = next(name for name in error.instance if name not in known)
        yield (*key, unknown), f"unknown key; known are {', '.join(known)}"
    elif error.validator == "type" and _looks_like_a_number(error.instance):
        yield key, f"{error.message}; write it without quotes and with a dot, like 1.0e-6"
    else:
        yield key, f"{error.message}; {error.schema.get('description', f'see {SCHEMA.name}')}"


@functools.cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(yaml.safe_load(SCHEMA.read_text()))


def _looks_like_a_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return isinstance(value, str)


def _origin(key: Key, files: Sequence[Path]) -> str:
    """The first of the files that holds the key; a key that none holds came with --config."""
    for file in files:
        if _holds(yaml.safe_load(file.read_text()), key):
            here = file.is_relative_to(Path.cwd())
            return str(file.relative_to(Path.cwd()) if here else file)
    return "--config"


def _holds(value: Any, key: Key) -> bool:
    for part in key:
        known = range(len(value)) if isinstance(value, list) else value
        if not isinstance(value, list | dict) or part not in known:
            return False
        value = value[part]  # type: ignore[index]
    return True


def _other_problems(config: Config) -> Iterator[Problem]:
    """What a schema cannot say: how keys fit each other, and files on disk."""
    yield from _base_model_problems(config)
    yield from training_problems(config)
    yield from _evaluation_problems(config)
    yield from _episode_problems(config)
    yield from _competition_problems(Path(config["competitions"]))
    yield from group_problems(config)
    yield from _mle_dojo_problems(config)
    yield from _vllm_problems(config)
    yield from _memory_problems(config)


def _variant_problems(config: Config) -> Iterator[Problem]:
    """Each variant must be a configuration that can be run by itself."""
    for name, overrides in config["variants"].items():
        own = variant(config, name, overrides) | {"study": config["study"]}
        del own["start"]
        for key, text in (*_schema_problems(own), *_other_problems(own)):
            yield ("variants", name, *key), text


def _base_model_problems(config: Config) -> Iterator[Problem]:
    source, revision = config["base_model"]["source"], config["base_model"]["revision"]
    made = config["warm_start"]
    if source == "warm_start":
        if made["hidden_size"] % (2 * made["heads"]):
            yield (
                ("warm_start", "hidden_size"),
                f"{made['hidden_size']} must be a multiple of twice warm_start.heads "
                f"{made['heads']}, so that every head has an even width",
            )
        if config["sampling"]["context_tokens"] > made["context_tokens"]:
            yield (
                ("sampling", "context_tokens"),
                f"{config['sampling']['context_tokens']} is more than the "
                f"{made['context_tokens']} of warm_start.context_tokens: lower the former",
            )
    elif source.startswith((".", "/")):
        if not Path(source).is_dir():
            yield ("base_model", "source"), f"no folder {source}; give one, or warm_start"
    elif revision is None:
        yield (
            ("base_model", "revision"),
            f"missing for {source}: give the commit of the Hugging Face model, or write a local "
            f"folder as ./{source}",
        )


def _evaluation_problems(config: Config) -> Iterator[Problem]:
    training = config["training"]
    api_models = [model["name"] for model in config["evaluation"]["api_models"]]
    if twice := sorted({name for name in api_models if api_models.count(name) > 1}):
        yield ("evaluation", "api_models"), f"two are called {twice[0]}: rename one"
    for model in config["evaluation"]["api_models"]:
        plays = f"{model['name']} plays with {model['agent']}"
        if model["agent"] != "ours" and config["mle_dojo"] is None:
            yield ("mle_dojo",), f"null, but {plays}: say where MLE-Dojo's checkout is"
        if model["agent"] != "ours" and config["environment"]["engine"] == "upstream":
            told = f"upstream confines no program, but {plays}: set it to native"
            yield ("environment", "engine"), told
    for iteration in config["evaluation"]["curve_iterations"]:
        if not 1 <= iteration < training["iterations"]:
            yield (
                ("evaluation", "curve_iterations"),
                f"{iteration} is not between the first and the last of training.iterations "
                f"{training['iterations']}, which are evaluated anyway: leave it out",
            )


def _competition_problems(path: Path) -> Iterator[Problem]:
    """The table of competitions; later checks assume that earlier ones passed."""
    key = ("competitions",)
    if not path.is_file():
        yield key, f"no file {path}; give a table like config/competitions.tsv"
        return
    table = pd.read_csv(path, sep="\t", comment="#")
    if missing := [column for column in COLUMNS if column not in table]:
        yield key, f"{path} lacks the columns {', '.join(missing)}, separated by tabs"
        return
    for row in table.itertuples():
        if row.group not in GROUPS:
            yield key, f"{path}: group of {row.competition} is {row.group}, not {_any_of(GROUPS)}"
    if twice := table["competition"][table["competition"].duplicated()].tolist():
        yield key, f"{path} names {twice[0]} twice: remove one line"
    for data_set, groups in table.groupby("data_set")["group"].unique().items():
        if len(groups) > 1:
            yield key, f"{path}: data set {data_set} is in {' and '.join(groups)}: keep it in one"
    for group in ("train", "held_out"):
        if group not in set(table["group"]):
            yield key, f"{path} has no competition of group {group}: add one"


def _mle_dojo_problems(config: Config) -> Iterator[Problem]:
    """What is in the table but not embedded must be MLE-Dojo's."""
    path, environment = Path(config["competitions"]), config["environment"]
    if environment["engine"] == "upstream" and environment["scoring"] != "upstream":
        yield (
            ("environment", "scoring"),
            f"{environment['scoring']} cannot be had from MLE-Dojo's engine: set it to upstream",
        )
    if environment["engine"] == "upstream" and config["helpers"]:
        yield ("helpers",), f"{config['helpers']}, but MLE-Dojo's engine takes none: set it to 0"
    if environment["scoring"] == "upstream" != config["evaluation"]["scoring"]:
        yield (
            ("evaluation", "scoring"),
            "halves cannot judge agents that were told of all answers: set it to upstream, as "
            "environment.scoring is",
        )
    embedded = {board.stem for board in LEADERBOARDS.glob("*.csv")}
    known = set(pd.read_csv(CATALOGUE)["slug"])
    for name in pd.read_csv(path, sep="\t", comment="#")["competition"]:
        if name not in embedded | known:
            yield (
                ("competitions",),
                f"{path} names {name}, which is neither in {LEADERBOARDS} nor in {CATALOGUE}",
            )
        elif name not in embedded and config["mle_dojo"] is None:
            yield ("mle_dojo",), f"null, but {path} names {name}: say where MLE-Dojo's checkout is"


def _episode_problems(config: Config) -> Iterator[Problem]:
    episode = config["episode"]
    try:
        PromptManager(episode["prompts"], episode["action_format"])
    except (OSError, ValueError) as wrong:
        yield ("episode", "prompts"), str(wrong).removeprefix("prompts: ")
    if episode["action_format"] == "tool_call" and config["base_model"]["source"] == "warm_start":
        yield (
            ("episode", "action_format"),
            "tool_call cannot be learnt from the warm start's teacher: set it to block",
        )
    if config["sampling"]["context_policy"] != "stop" and config["ppo"]["gamma"] != 1:
        yield (
            ("ppo", "gamma"),
            f"{config['ppo']['gamma']} discounts what is earned after turns were "
            "forgotten: set it to 1.0, or sampling.context_policy to stop",
        )


def _vllm_problems(config: Config) -> Iterator[Problem]:
    """Every job that samples must have the GPUs that its server uses."""
    if config["vllm"] is None or "url" in config["vllm"]:
        return
    used = config["vllm"]["tensor_parallel"] * config["vllm"]["data_parallel"]
    for job in ("base_model", "rollouts", "evaluation"):
        given = config["resources"][job]["gpu"]
        if given not in (0, used):
            yield (
                ("resources", job, "gpu"),
                f"{given}, but vllm.tensor_parallel times vllm.data_parallel is {used}: make them "
                "equal",
            )


def _memory_problems(config: Config) -> Iterator[Problem]:
    """A job that runs programs must have memory for one of them, and as much for itself."""
    each = config["sandbox"]["memory_mb"] + config["sandbox"]["scratch_mb"]
    for job in ("base_model", "rollouts", "evaluation", "yardsticks"):
        if (given := config["resources"][job]["mem_mb"]) < 2 * each:
            yield (
                ("resources", job, "mem_mb"),
                f"{given} does not hold a program of sandbox.memory_mb and scratch_mb beside the "
                f"job itself: give {2 * each} or more, or lower those",
            )


def _any_of(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
