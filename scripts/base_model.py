"""Make the base model: a tiny Qwen2 warm-started on training competitions, or a given model.

Ends with a gate: a base that hardly ever writes a valid program cannot be trained by PPO, which
would learn to do nothing. Below the required share the job stops with an error.
"""

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

from agent.core.competition import Competition
from agent.core.devices import check_gpus
from agent.core.errors import one_line_errors
from agent.core.files import check_free, unfinished, write_text
from agent.core.local_model import SamplingSettings
from agent.core.model_folder import fetch_model
from agent.core.settings import read_config, section
from agent.core.timing import Stopwatch
from agent.policy import open_policy
from agent.rollout import (
    EnvironmentSettings,
    EpisodeSettings,
    Sandbox,
    deal_competitions,
    episode_keys,
    find_competitions,
    journal_beside,
    open_competitions,
    open_sandbox,
    play,
    play_teacher,
    save_executions,
)
from agent.sandbox.opening import SandboxSettings
from agent.training.batch import summary
from agent.training.teacher import TeacherSettings
from agent.training.warm_start import WarmStartSettings, warm_start
from agent.wrappers.vllm_settings import decisive

PLAYED_BY = ("sampling", "episode", "environment", "sandbox", "vllm")  # all that the gate reads


@dataclass(frozen=True)
class BaseModelSettings:
    source: str  # "warm_start", a local folder, or a Hugging Face id
    revision: str | None
    gate_episodes: int
    minimum_valid_share: float


@dataclass(frozen=True)
class Arguments:
    config: str
    """YAML file, or inline JSON: base_model, warm_start, teacher, sampling, episode, environment,
    sandbox, vllm"""
    output_dir: Path
    """folder of the model; gate.json inside it says how many of its programs were valid"""
    competitions_dir: Path = Path("results/competitions")
    """folder of prepared competitions"""
    fetched: Path | None = None
    """folder of the model that base_model.source names; it is fetched when none is given"""
    competitions: tuple[str, ...] = ()
    """training competitions; all prepared ones when none is given"""
    workers: int = 1
    """programs that run at the same time"""
    gpus: int = 0
    """GPUs that the job asked for; fewer in sight are an error"""
    executions_to: Path | None = None
    """file for the executions of this job, for later ones"""
    timing: Path | None = None
    """file for the record of where the time went"""


def main(arguments: Arguments) -> None:
    stopwatch = Stopwatch("base_model", str(arguments.output_dir))
    config = read_config(arguments.config)
    check_gpus("base_model", arguments.gpus, config.get("vllm"))
    settings = section(config, "base_model", BaseModelSettings)
    folder = arguments.competitions_dir
    names = arguments.competitions or find_competitions(folder, "train")
    environment = section(config, "environment", EnvironmentSettings)
    known = open_competitions(folder, names, environment.told)
    check_free(arguments.output_dir)
    limits = section(config, "sandbox", SandboxSettings)
    with open_sandbox(limits, environment.engine, [folder / name for name in names]) as sandbox:
        if settings.source == "warm_start":
            _warm_start(config, known, sandbox, arguments, stopwatch)
        else:
            with stopwatch.phase("prepare"), unfinished(arguments.output_dir) as output:
                source = arguments.fetched or settings.source
                fetch_model(str(source), settings.revision, output)
        _play_gate(config, settings, known, sandbox, arguments, stopwatch)
    stopwatch.write(arguments.timing, arguments.gpus)


def _warm_start(
    config: dict[str, Any],
    known: list[Competition],
    sandbox: Sandbox,
    arguments: Arguments,
    stopwatch: Stopwatch,
) -> None:
    settings = section(config, "warm_start", WarmStartSettings)
    written = play_teacher(
        known,
        settings.episodes,
        section(config, "teacher", TeacherSettings),
        settings.seed,
        sandbox,
        section(config, "episode", EpisodeSettings),
        arguments.workers,
        stopwatch,
    )
    with stopwatch.phase("train"):
        warm_start(written, settings, arguments.output_dir)


def _play_gate(
    config: dict[str, Any],
    settings: BaseModelSettings,
    known: list[Competition],
    sandbox: Sandbox,
    arguments: Arguments,
    stopwatch: Stopwatch,
) -> None:
    """Episodes by which the model is judged; until it has passed they are kept beside it."""
    episodes, output = settings.gate_episodes, arguments.output_dir
    keys = episode_keys(0, 0, 0, episodes)
    folders = [arguments.competitions_dir / competition.name for competition in known]
    settled = [decisive({key: config[key] for key in PLAYED_BY}), asdict(keys[0]), episodes]
    sampling = section(config, "sampling", SamplingSettings)
    with ExitStack() as opened:
        policy = open_policy(output, sampling, config, output.with_suffix(".vllm.log"))
        model = opened.enter_context(policy)
        journal = opened.enter_context(journal_beside(output, model.name, folders, settled))
        played = play(
            model,
            deal_competitions(known, episodes, 0),
            keys,
            sandbox,
            section(config, "episode", EpisodeSettings),
            arguments.workers,
            stopwatch,
            journal,
        )
        _check_gate(summary(played), settings, output)
        limits = section(config, "sandbox", SandboxSettings)
        save_executions(arguments.executions_to, sandbox, limits)
        journal.discard()


def _check_gate(facts: dict[str, float], settings: BaseModelSettings, folder: Path) -> None:
    write_text(folder / "gate.json", json.dumps(facts, indent=1) + "\n")
    valid = facts["valid_rate"]
    print(f"base model: {valid:.0%} of sampled programs are valid")
    if valid < settings.minimum_valid_share:
        raise ValueError(
            f"base_model: only {valid:.0%} of sampled programs are valid, "
            f"base_model.minimum_valid_share asks for {settings.minimum_valid_share:.0%}; "
            f"lengthen the warm start (warm_start.episodes, warm_start.epochs)"
        )


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Arguments, description=__doc__))
