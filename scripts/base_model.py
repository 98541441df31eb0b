"""Make the base model: a tiny Qwen2 warm-started on training competitions, or a given model.

Ends with a gate: a base that hardly ever writes a valid program cannot be trained by PPO, which
would learn to do nothing. Below the required share the job stops with an error.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from agent.core.competition import Competition
from agent.core.errors import one_line_errors
from agent.core.local_model import LocalModel, SamplingSettings, fetch_model
from agent.core.settings import read_config, section
from agent.core.timing import Stopwatch
from agent.rollout import (
    EpisodeSettings,
    Sandbox,
    SandboxSettings,
    deal_competitions,
    episode_keys,
    find_competitions,
    load_competitions,
    open_sandbox,
    play,
    play_teacher,
)
from agent.training.batch import summary
from agent.training.teacher import TeacherSettings
from agent.training.warm_start import WarmStartSettings, warm_start


@dataclass(frozen=True)
class BaseModelSettings:
    source: str  # "warm_start", a local folder, or a Hugging Face id
    revision: str | None
    gate_episodes: int
    minimum_valid_share: float


@dataclass(frozen=True)
class Arguments:
    config: str
    """YAML file, or inline JSON: base_model, warm_start, teacher, sampling, episode, sandbox"""
    output_dir: Path
    """folder of the model; gate.json inside it says how many of its programs were valid"""
    competitions_dir: Path = Path("results/competitions")
    competitions: tuple[str, ...] = ()
    """training competitions; all prepared ones when none is given"""
    workers: int = 1
    """programs that run at the same time"""
    timing: Path | None = None


def main(arguments: Arguments) -> None:
    stopwatch = Stopwatch("base_model", str(arguments.output_dir))
    config = read_config(arguments.config)
    settings = section(config, "base_model", BaseModelSettings)
    folder = arguments.competitions_dir
    known = load_competitions(folder, arguments.competitions or find_competitions(folder, "train"))
    with open_sandbox(section(config, "sandbox", SandboxSettings)) as sandbox:
        if settings.source == "warm_start":
            _warm_start(config, known, sandbox, arguments, stopwatch)
        else:
            with stopwatch.phase("prepare"):
                fetch_model(settings.source, settings.revision, arguments.output_dir)
        _gate(config, settings, known, sandbox, arguments, stopwatch)
    stopwatch.write(arguments.timing)


def _warm_start(
    config: dict,
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


def _gate(
    config: dict,
    settings: BaseModelSettings,
    known: list[Competition],
    sandbox: Sandbox,
    arguments: Arguments,
    stopwatch: Stopwatch,
) -> None:
    model = LocalModel(arguments.output_dir, section(config, "sampling", SamplingSettings))
    played = play(
        model,
        deal_competitions(known, settings.gate_episodes, 0),
        episode_keys(0, 0, 0, settings.gate_episodes),
        sandbox,
        section(config, "episode", EpisodeSettings),
        arguments.workers,
        stopwatch,
    )
    facts = summary(played)
    (arguments.output_dir / "gate.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(f"base model: {facts['valid_rate']:.0%} of sampled programs are valid")
    if facts["valid_rate"] < settings.minimum_valid_share:
        raise SystemExit(
            f"base_model: only {facts['valid_rate']:.0%} of sampled programs are valid, "
            f"base_model.minimum_valid_share asks for {settings.minimum_valid_share:.0%}; "
            f"lengthen the warm start (warm_start.episodes, warm_start.epochs)"
        )


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Arguments, description=__doc__))
