"""Write the trajectory browser: a static page in which a person reads the study's episodes."""

from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import tyro

from agent.browser.episodes import Episode, Source
from agent.browser.folder import write_browser
from agent.browser.tokens import Tokens
from agent.core.errors import one_line_errors
from agent.core.records import Trajectory, updates_seen
from agent.core.settings import read_config, section
from agent.core.trajectories import read_trajectories
from agent.evaluation.inputs import FEEDBACK_ANSWERS, JUDGING_ANSWERS, Scoring
from agent.training.rewards import RewardSettings, turn_rewards

KEYS = ["competition", "episode"]


def main(
    evaluations: list[Path],
    shards: list[Path],
    yardsticks: Path,
    tokenizer: Path,
    config: str,
    study: str,
    output_dir: Path,
    api_models: tuple[Path, ...] = (),
    staleness: int = 0,
    told: Scoring = "halves",
    scoring: Scoring = "halves",
) -> None:
    """Write the page.

    Args:
        evaluations: folders that hold episodes.parquet and scores.csv.
        shards: trajectory shards of every iteration.
        yardsticks: scores.csv of the yardsticks.
        tokenizer: tokenizer.json of the model that played.
        config: YAML file, or inline JSON, with the section rewards.
        study: the study's name.
        output_dir: folder to write; open its index.html.
        api_models: the same folders of models behind an API, which are yardsticks that play.
        staleness: updates by which the policies that played shards lag behind the newest ones.
        told: the answers that agents were told of, the feedback half or as upstream all.
        scoring: the answers that judge, the final half or as upstream all.
    """
    rewards = section(read_config(config), "rewards", RewardSettings)

    def episodes() -> Iterator[Episode]:
        for folder in evaluations:
            place = "evaluation/seed{seed}/iteration{iteration}/{group}"
            yield from _evaluated("evaluation", place, folder, rewards)
        for shard in shards:
            yield from _trained_on(shard, rewards, staleness)
        yield from _yardsticks(yardsticks)
        for folder in api_models:
            yield from _evaluated("yardsticks", "evaluation/api/{policy}", folder, rewards)

    answers = {"told": FEEDBACK_ANSWERS[told], "judging": JUDGING_ANSWERS[scoring]}
    count = write_browser(output_dir, study, episodes(), Tokens(tokenizer), answers)
    print(f"{count} episodes: open {output_dir / 'index.html'}")


def _evaluated(
    source: Source, place: str, folder: Path, rewards: RewardSettings
) -> Iterator[Episode]:
    """Each row of the folder's scores.csv with its trajectory; neither may lack the other."""
    played = {(t.competition, t.episode): t for t in read_trajectories(folder / "episodes.parquet")}
    scores = pd.read_csv(folder / "scores.csv")
    if set(played) != set(zip(scores["competition"], scores["episode"], strict=True)):
        raise ValueError(f"{folder}: scores.csv and episodes.parquet differ; evaluate again")
    for row in scores.sort_values(KEYS).to_dict("records"):
        address = place.format(**{str(key): value for key, value in row.items()})
        trajectory = played[row["competition"], row["episode"]]
        yield _scored(source, address, row, trajectory, _rewards(trajectory, rewards))


def _trained_on(shard: Path, rewards: RewardSettings, staleness: int) -> Iterator[Episode]:
    """Training episodes have no score of the evaluation."""
    for t in read_trajectories(shard):
        updates = updates_seen(t.iteration, staleness)
        yield Episode(
            source="training",
            folder=f"training/seed{t.seed}/iteration{t.iteration}/shard{t.shard}",
            number=t.episode,
            group=t.group,
            competition=t.competition,
            policy="trained" if updates else "base",
            seed=t.seed,
            iteration=updates,
            score=None,
            first_score=None,
            trajectory=t,
            rewards=_rewards(t, rewards),
        )


def _yardsticks(path: Path) -> Iterator[Episode]:
    for row in pd.read_csv(path).sort_values(["policy", *KEYS]).to_dict("records"):
        place = f"yardsticks/{row['policy']}/{row['competition']}"
        yield _scored("yardsticks", place, row, None, ())


def _scored(
    source: Source,
    folder: str,
    row: Mapping[Hashable, Any],
    trajectory: Trajectory | None,
    rewards: tuple[float, ...],
) -> Episode:
    return Episode(
        source=source,
        folder=folder,
        number=row["episode"],
        group=row["group"],
        competition=row["competition"],
        policy=row["policy"],
        seed=row["seed"],
        iteration=row["iteration"],
        score=row["score"],
        first_score=row["first_score"],
        trajectory=trajectory,
        rewards=rewards,
    )


def _rewards(trajectory: Trajectory, settings: RewardSettings) -> tuple[float, ...]:
    return tuple(turn_rewards(trajectory.turns, settings).tolist())


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
