"""One update, by PPO or by imitation of the best: an iteration's shards in, a checkpoint out.

Alone, or as one of torchrun's processes, of which the first one writes.
"""

import json
import os
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any, Literal

import tyro

from agent.core.devices import check_gpus
from agent.core.errors import one_line_errors
from agent.core.files import write_text
from agent.core.model_folder import model_folder
from agent.core.records import PPOSettings, Trajectory, UpdateSettings
from agent.core.settings import read_config, section
from agent.core.timing import Stopwatch
from agent.training import ppo, rejection_sampling
from agent.training.ppo import check_models, log_to_tensorboard, read_shards
from agent.training.rejection_sampling import RFTSettings
from agent.training.rewards import RewardSettings


@dataclass(frozen=True)
class Arguments:
    trajectories_dir: Path
    """folder of the shards of one iteration"""
    config: str
    """YAML file, or inline JSON, with the sections ppo, update, and rewards or (for rft) rft"""
    output_dir: Path
    """checkpoint folder: model/ (Hugging Face format) and, of PPO, verl/ (what resuming needs)"""
    method: Literal["ppo", "rft"] = "ppo"
    """rft: rejection-sampled fine-tuning, supervised training on the best episodes"""
    base_model: Path | None = None
    """PPO's reference policy, from which the first update starts; the study's base by default"""
    previous: Path | None = None
    """checkpoint of the iteration before, for PPO to go on from; none for its first one and rft"""
    player: Path | None = None
    """checkpoint that played, where it is not the one to update"""
    num_shards: int | None = None
    """read shards 0 to NUM_SHARDS - 1, should there be more from earlier; all by default"""
    iteration: int = 1
    """number of this update"""
    seed: int = 0
    """the run; seed and iteration decide the order of the minibatches"""
    gpus: int = 0
    """GPUs that the job asked for, on all its nodes together; fewer in sight are an error"""
    metrics: Path | None = None
    """JSON file for the update's metrics; metrics.json in the checkpoint folder by default"""
    tensorboard: Path | None = None
    """folder for TensorBoard event files of the whole run"""
    timing: Path | None = None
    """file for the record of where the time went"""


def main(arguments: Arguments) -> None:
    stopwatch = Stopwatch("train_rl", str(arguments.output_dir))
    config = read_config(arguments.config)
    named = arguments.base_model or _base_model_of_study(config)
    nodes = section(config, "update", UpdateSettings).nodes
    check_gpus("update", arguments.gpus // nodes)
    base_model = model_folder(named)
    trajectories = read_shards(arguments.trajectories_dir, arguments.num_shards)
    check_models(trajectories, base_model, arguments.previous, arguments.player)
    metrics = _train(trajectories, config, base_model, arguments, stopwatch)
    if int(os.environ.get("RANK", "0")) > 0:
        return
    with stopwatch.phase("write"):
        numbers: dict[str, float | None] = {
            "seed": arguments.seed,
            "iteration": arguments.iteration,
        }
        numbers |= {name: None if isnan(value) else value for name, value in metrics.items()}
        path = arguments.metrics or arguments.output_dir / "metrics.json"
        write_text(path, json.dumps(numbers, indent=1) + "\n")
        if arguments.tensorboard:
            log_to_tensorboard(arguments.tensorboard, metrics, arguments.iteration)
    stopwatch.write(arguments.timing, arguments.gpus, nodes)
    shown = ("mean_best_position", "valid_rate", "approx_kl", "entropy", "explained_variance")
    print(" ".join(f"{key} {metrics[key]:.3f}" for key in shown))


def _train(
    trajectories: list[Trajectory],
    config: dict[str, Any],
    base_model: Path,
    arguments: Arguments,
    stopwatch: Stopwatch,
) -> dict[str, float]:
    settings = section(config, "ppo", PPOSettings)
    compute = section(config, "update", UpdateSettings)
    output, numbers = arguments.output_dir, (arguments.iteration, arguments.seed)
    if arguments.method == "ppo":
        rewards = section(config, "rewards", RewardSettings)
        return ppo.train(
            trajectories,
            rewards,
            settings,
            base_model,
            arguments.previous,
            output,
            *numbers,
            compute,
            stopwatch,
        )
    if arguments.previous is not None:
        raise ValueError("--previous: rft resumes nothing: give the checkpoint as --base-model")
    rft = section(config, "rft", RFTSettings)
    return rejection_sampling.train(
        trajectories, rft, settings, base_model, output, *numbers, compute, stopwatch
    )


def _base_model_of_study(config: dict[str, Any]) -> Path:
    if "study" not in config:
        raise ValueError("--base-model is missing, and the configuration names no study")
    return Path("results", config["study"], "base_model")


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Arguments, description=__doc__))
