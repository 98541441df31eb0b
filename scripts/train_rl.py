"""One PPO update: read an iteration's trajectory shards, write the next checkpoint."""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.records import PPOSettings
from agent.core.settings import read_config, section
from agent.core.timing import Stopwatch
from agent.training.ppo import log_to_tensorboard, read_shards, train
from agent.training.rewards import RewardSettings


@dataclass(frozen=True)
class Arguments:
    trajectories_dir: Path
    """folder of the shards of one iteration"""
    config: str
    """YAML file, or inline JSON, with the sections rewards and ppo"""
    output_dir: Path
    """checkpoint folder: model/ (Hugging Face format) and verl/ (what resuming needs)"""
    base_model: Path
    """the reference policy, and where iteration 1 starts"""
    previous: Path | None = None
    """checkpoint of the iteration before; none for iteration 1"""
    iteration: int = 1
    seed: int = 0
    metrics: Path | None = None
    """JSON file for the update's metrics; metrics.json in the checkpoint folder by default"""
    tensorboard: Path | None = None
    """folder for TensorBoard event files of the whole run"""
    timing: Path | None = None


def main(arguments: Arguments) -> None:
    stopwatch = Stopwatch("train_rl", str(arguments.output_dir))
    config = read_config(arguments.config)
    metrics = train(
        read_shards(arguments.trajectories_dir),
        section(config, "rewards", RewardSettings),
        section(config, "ppo", PPOSettings),
        arguments.base_model,
        arguments.previous,
        arguments.output_dir,
        arguments.iteration,
        arguments.seed,
        stopwatch,
    )
    with stopwatch.phase("write"):
        numbers = {"seed": arguments.seed, "iteration": arguments.iteration} | metrics
        path = arguments.metrics or arguments.output_dir / "metrics.json"
        path.write_text(json.dumps(numbers, indent=1) + "\n")
        if arguments.tensorboard:
            log_to_tensorboard(arguments.tensorboard, metrics, arguments.iteration)
    stopwatch.write(arguments.timing)
    shown = ("mean_best_position", "valid_rate", "approx_kl", "entropy", "explained_variance")
    print(" ".join(f"{key} {metrics[key]:.3f}" for key in shown))


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Arguments, description=__doc__))
