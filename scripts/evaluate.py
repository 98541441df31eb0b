"""Play evaluation episodes with a model and grade them on the final half of the answers."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from agent.competitions.loading import load_competition
from agent.core.errors import one_line_errors
from agent.core.local_model import LocalModel, SamplingSettings
from agent.core.settings import read_config, section
from agent.core.timing import Stopwatch
from agent.core.trajectories import write_trajectories
from agent.grading import score_episodes, turn_rows
from agent.rollout import (
    EpisodeSettings,
    SandboxSettings,
    deal_competitions,
    episode_keys,
    find_competitions,
    load_competitions,
    open_sandbox,
    play,
)


@dataclass(frozen=True)
class Arguments:
    model_path: Path
    """folder of the model to evaluate"""
    config: str
    """YAML file, or inline JSON, with the sections sampling, episode and sandbox"""
    output_dir: Path
    """folder that receives episodes.parquet, scores.csv and turns.csv"""
    num_episodes: int = 10
    """episodes per competition"""
    competitions_dir: Path = Path("results/competitions")
    competitions: tuple[str, ...] = ()
    """names to play; all prepared competitions of the group when none is given"""
    group: str = "held_out"
    policy: str = "trained"
    """how the scores name this policy"""
    seed: int = 0
    """the run that the scores belong to"""
    iteration: int = 0
    """training iterations the model went through"""
    sampling_seed: int = 1000
    """evaluation samples with seeds of its own, apart from training"""
    workers: int = 1
    timing: Path | None = None


def main(arguments: Arguments) -> None:
    stopwatch = Stopwatch("evaluate", str(arguments.output_dir))
    config = read_config(arguments.config)
    folder = arguments.competitions_dir
    with open_sandbox(section(config, "sandbox", SandboxSettings)) as sandbox:
        with stopwatch.phase("import"):
            names = arguments.competitions or find_competitions(folder, arguments.group)
            known = load_competitions(folder, names)
            model = LocalModel(arguments.model_path, section(config, "sampling", SamplingSettings))
        episodes = arguments.num_episodes * len(known)
        trajectories = play(
            model,
            deal_competitions(known, episodes, 0),
            episode_keys(arguments.sampling_seed, arguments.iteration, 0, episodes),
            sandbox,
            section(config, "episode", EpisodeSettings),
            arguments.workers,
            stopwatch,
        )
    with stopwatch.phase("grade"):
        final = {name: load_competition(folder / name, "final") for name in names}
        scores = score_episodes(
            trajectories, final, arguments.policy, arguments.seed, arguments.iteration
        )
    with stopwatch.phase("write"):
        write_trajectories(arguments.output_dir / "episodes.parquet", trajectories, facts={})
        scores.to_csv(arguments.output_dir / "scores.csv", index=False, float_format="%.10g")
        turns = turn_rows(
            trajectories, arguments.policy, arguments.seed, arguments.iteration, "evaluation"
        )
        turns.to_csv(arguments.output_dir / "turns.csv", index=False, float_format="%.10g")
    stopwatch.write(arguments.timing)
    print(f"{len(scores)} episodes, mean score {scores['score'].mean():.3f}")


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Arguments, description=__doc__))
