"""Play evaluation episodes with a model, and store them with every submission that they made.

`scripts/grade_evaluation.py` judges them, as often as the rules of judging change.
"""

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from agent.competitions.loading import public_digest
from agent.core.devices import check_gpus
from agent.core.errors import one_line_errors
from agent.core.local_model import SamplingSettings
from agent.core.settings import read_config, section
from agent.core.timing import Stopwatch
from agent.core.trajectories import write_trajectories
from agent.policy import open_policy
from agent.rollout import (
    EnvironmentSettings,
    EpisodeSettings,
    Scoring,
    deal_competitions,
    episode_keys,
    find_competitions,
    journal_beside,
    open_competitions,
    open_sandbox,
    play,
)
from agent.sandbox.opening import SandboxSettings
from agent.wrappers.vllm_settings import decisive


@dataclass(frozen=True)
class EvaluationSettings:
    temperature: float
    scoring: Scoring
    episodes: int
    curve_iterations: tuple[int, ...]
    curve_episodes: int
    api_models: tuple[dict[str, Any], ...]
    train_episodes: int


@dataclass(frozen=True)
class Arguments:
    model_path: Path
    """folder of the model to evaluate: a base model or a checkpoint"""
    config: str
    """YAML file, or inline JSON: sampling, episode, environment, sandbox, vllm; and evaluation"""
    output_dir: Path
    """folder that receives episodes.parquet"""
    temperature: float | None = None
    """sampling temperature; that of the section evaluation when none is given"""
    num_episodes: int = 10
    """episodes per competition"""
    competitions_dir: Path = Path("results/competitions")
    """folder of prepared competitions"""
    competitions: tuple[str, ...] = ()
    """names to play; all prepared held-out competitions when none is given"""
    iteration: int = 0
    """PPO updates that the model went through"""
    sampling_seed: int = 1000
    """what the sampling derives from; evaluation draws apart from training"""
    workers: int = 1
    """programs that run at the same time"""
    helpers: int = 0
    """programs that helpers on other machines may run beside those"""
    offers: Path = Path("results/offers")
    """folder where helpers look for them"""
    gpus: int = 0
    """GPUs that the job asked for; fewer in sight are an error"""
    timing: Path | None = None
    """file for the record of where the time went"""


def main(arguments: Arguments) -> None:
    stopwatch = Stopwatch("evaluate", str(arguments.output_dir))
    config = read_config(arguments.config)
    check_gpus("evaluation", arguments.gpus, config.get("vllm"))
    environment = section(config, "environment", EnvironmentSettings)
    folder, output = arguments.competitions_dir, arguments.output_dir
    limits = section(config, "sandbox", SandboxSettings)
    names = arguments.competitions or find_competitions(folder, "held_out")
    folders = [folder / name for name in names]
    sampling = _sampling(config, arguments.temperature)
    with ExitStack() as opened:
        offers = arguments.offers if arguments.helpers else None
        sandbox = opened.enter_context(
            open_sandbox(limits, environment.engine, folders, (), arguments.workers, offers)
        )
        with stopwatch.phase("import"):
            known = open_competitions(folder, names, environment.told)
            policy = open_policy(arguments.model_path, sampling, config, output / "vllm.log")
            model = opened.enter_context(policy)
        episodes = arguments.num_episodes * len(known)
        keys = episode_keys(arguments.sampling_seed, arguments.iteration, 0, episodes)
        settled = [decisive(config), asdict(keys[0]), episodes, arguments.temperature]
        file = output / "episodes.parquet"
        journal = opened.enter_context(journal_beside(file, model.name, folders, settled))
        played = play(
            model,
            deal_competitions(known, episodes, 0),
            keys,
            sandbox,
            section(config, "episode", EpisodeSettings),
            arguments.workers + arguments.helpers,
            stopwatch,
            journal,
        )
        with stopwatch.phase("write"):
            shown = {name: public_digest(folder / name) for name in names}
            write_trajectories(file, played, facts={"public_files": json.dumps(shown)})
            journal.discard()
    stopwatch.write(arguments.timing, arguments.gpus)
    print(f"{episodes} episodes in {file}")


def _sampling(config: dict[str, Any], temperature: float | None) -> SamplingSettings:
    if temperature is None:
        temperature = section(config, "evaluation", EvaluationSettings).temperature
    return replace(section(config, "sampling", SamplingSettings), temperature=temperature)


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Arguments, description=__doc__))
