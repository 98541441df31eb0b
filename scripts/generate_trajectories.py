"""Play training episodes with a model and record every token, program and score as a shard."""

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from agent.core.competition import Competition
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
    deal_competitions,
    episode_keys,
    find_competitions,
    journal_beside,
    open_competitions,
    open_sandbox,
    play,
    save_executions,
)
from agent.sandbox.opening import SandboxSettings
from agent.training.curriculum import draw_competitions, read_weights
from agent.wrappers.vllm_settings import decisive


@dataclass(frozen=True)
class Arguments:
    model_name: Path
    """folder of the model that plays: a base model or a checkpoint"""
    config: str
    """YAML file, or inline JSON: sampling, episode, environment, sandbox, vllm"""
    output_dir: Path
    """folder that receives shard<SHARD>.parquet"""
    num_episodes: int = 10
    """episodes of this shard, dealt to the competitions in turn"""
    competitions_dir: Path = Path("results/competitions")
    """folder of prepared competitions"""
    competitions: tuple[str, ...] = ()
    """names to play; all prepared training competitions when none is given"""
    seed: int = 0
    """the run that the shard belongs to; seed, iteration, shard and episode decide all sampling"""
    iteration: int = 1
    """the PPO iteration that will train on the shard"""
    shard: int = 0
    """number of the shard within its iteration"""
    first_episode: int = 0
    """how many episodes other shards play before these: decides who plays what"""
    competition_weights: Path | None = None
    """table of how often each competition is played; all equally often when none is given"""
    workers: int = 1
    """programs that run at the same time"""
    helpers: int = 0
    """programs that helpers on other machines may run beside those"""
    offers: Path = Path("results/offers")
    """folder where helpers look for them"""
    gpus: int = 0
    """GPUs that the job asked for; fewer in sight are an error"""
    executions_from: tuple[Path, ...] = ()
    """files of earlier executions, which are not repeated"""
    executions_to: Path | None = None
    """file for the executions of this job, for later ones"""
    timing: Path | None = None
    """file for the record of where the time went"""


def main(arguments: Arguments) -> None:
    stopwatch = Stopwatch("generate_trajectories", str(arguments.output_dir))
    config = read_config(arguments.config)
    check_gpus("rollouts", arguments.gpus, config.get("vllm"))
    episodes, folder = arguments.num_episodes, arguments.competitions_dir
    settings = section(config, "sandbox", SandboxSettings)
    environment = section(config, "environment", EnvironmentSettings)
    names = arguments.competitions or find_competitions(folder, "train")
    folders = [folder / name for name in names]
    shard = arguments.output_dir / f"shard{arguments.shard}.parquet"
    sampling = section(config, "sampling", SamplingSettings)
    with ExitStack() as opened:
        offers = arguments.offers if arguments.helpers else None
        sandbox = opened.enter_context(
            open_sandbox(
                settings,
                environment.engine,
                folders,
                arguments.executions_from,
                arguments.workers,
                offers,
            )
        )
        with stopwatch.phase("import"):
            known = open_competitions(folder, names, environment.told)
            policy = open_policy(
                arguments.model_name, sampling, config, shard.with_suffix(".vllm.log")
            )
            model = opened.enter_context(policy)
        keys = episode_keys(arguments.seed, arguments.iteration, arguments.shard, episodes)
        dealt = _deal(known, arguments)
        settled = [decisive(config), asdict(keys[0]), [competition.name for competition in dealt]]
        journal = opened.enter_context(journal_beside(shard, model.name, folders, settled))
        trajectories = play(
            model,
            dealt,
            keys,
            sandbox,
            section(config, "episode", EpisodeSettings),
            arguments.workers + arguments.helpers,
            stopwatch,
            journal,
        )
        with stopwatch.phase("write"):
            write_trajectories(shard, trajectories, facts={})
            save_executions(arguments.executions_to, sandbox, settings)
            journal.discard()
    stopwatch.write(arguments.timing, arguments.gpus)
    print(f"{episodes} episodes in {shard}")


def _deal(known: list[Competition], arguments: Arguments) -> list[Competition]:
    """One competition per episode: in turn, or as often as the weights say."""
    episodes, first = arguments.num_episodes, arguments.first_episode
    if arguments.competition_weights is None:
        return deal_competitions(known, episodes, first)
    names = [competition.name for competition in known]
    weights = read_weights(arguments.competition_weights, names)
    return [known[row] for row in draw_competitions(weights, episodes, first, arguments.seed)]


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Arguments, description=__doc__))
