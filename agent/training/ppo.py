"""One iteration's update: shards in, checkpoint and metrics out. The mathematics is verl's."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.core.model_folder import check_same_architecture, model_digest, model_folder
from agent.core.records import PPOSettings, Trajectory, UpdateSettings
from agent.core.timing import Stopwatch
from agent.core.trajectories import read_trajectories
from agent.training.batch import summary, update_batch
from agent.training.rewards import RewardSettings


def read_shards(folder: Path, count: int | None = None) -> list[Trajectory]:
    """All trajectories of one iteration, in shard and episode order; of `count` shards if given.

    Raises when the folder holds no shard or two shards claim the same episodes.
    """
    shards = sorted(folder.glob("*.parquet"))
    if count is not None:  # the folder may hold more, from when there were more shards
        shards = [folder / f"shard{number}.parquet" for number in range(count)]
    if not shards:
        raise FileNotFoundError(
            f"{folder}: holds no trajectory shard (*.parquet); run generate_trajectories first"
        )
    trajectories = [t for shard in shards for t in read_trajectories(shard)]
    keys = [(t.seed, t.iteration, t.shard, t.episode) for t in trajectories]
    if len(set(keys)) < len(keys):
        raise ValueError(f"{folder}: two shards hold the same episodes; remove one of them")
    order = sorted(range(len(keys)), key=lambda row: keys[row])
    return [trajectories[row] for row in order]


def check_models(
    trajectories: Sequence[Trajectory],
    base_model: Path,
    previous: Path | None,
    player: Path | None = None,
) -> None:
    """Raise unless `player` played, by default the policy to update; all must have one shape."""
    for trained in filter(None, (previous, player)):
        check_same_architecture(model_folder(trained), model_folder(base_model))
    player = model_folder(player or previous or base_model)
    policy = model_digest(player)
    if others := sorted({t.policy for t in trajectories} - {policy}):
        raise ValueError(
            f"{player}: is policy {policy}, but the trajectories were played by {others[0]}: "
            f"update the model that played, or name it (--player), or play them anew"
        )


def train(
    trajectories: Sequence[Trajectory],
    rewards: RewardSettings,
    settings: PPOSettings,
    base_model: Path,
    previous: Path | None,
    output: Path,
    iteration: int,
    seed: int,
    compute: UpdateSettings,
    stopwatch: Stopwatch,
) -> dict[str, float]:
    """Update the policy once on the trajectories of one iteration; returns flat metrics."""
    batch = update_batch(trajectories, rewards, settings.duration_aware)
    with stopwatch.phase("import"):
        from agent.wrappers.verl_wrapper import ppo_update  # verl takes seconds to import
    with stopwatch.phase("update"):
        metrics = ppo_update(
            batch, base_model, previous, output, settings, iteration, seed, compute
        )
    return summary(trajectories) | metrics


def log_to_tensorboard(folder: Path, metrics: Mapping[str, float], iteration: int) -> None:
    """Append one iteration's metrics to a run's TensorBoard folder, but those that are NaN."""
    from torch.utils.tensorboard import SummaryWriter  # only those who log pay for the import

    with SummaryWriter(str(folder)) as writer:
        for name, value in metrics.items():
            if not math.isnan(value):
                writer.add_scalar(name, value, iteration)
