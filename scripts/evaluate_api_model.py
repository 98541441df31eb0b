"""Let a model behind an OpenAI-compatible API play the held-out competitions, as a yardstick."""

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.files import write_text
from agent.core.settings import read_config, section
from agent.core.timing import Stopwatch
from agent.core.trajectories import write_trajectories
from agent.evaluation.files import write_csv
from agent.grading import score_episodes, turn_rows
from agent.rollout import (
    EnvironmentSettings,
    EpisodeSettings,
    SandboxSettings,
    Scoring,
    deal_competitions,
    episode_keys,
    find_competitions,
    journal_beside,
    judged_half,
    open_competitions,
    open_sandbox,
    play,
)
from agent.wrappers.api_policy import ApiModel, ApiPolicy, total_usage


@dataclass(frozen=True)
class Arguments:
    config: str
    """YAML file, or inline JSON: episode, environment, sandbox; and api_model, the one to ask"""
    output_dir: Path
    """folder that receives episodes.parquet, scores.csv, turns.csv and usage.json"""
    temperature: float
    """sampling temperature"""
    max_new_tokens: int
    """of one answer"""
    scoring: Scoring = "halves"
    """evaluation.scoring: the answers behind the scores that are reported"""
    num_episodes: int = 5
    """episodes per competition"""
    competitions_dir: Path = Path("results/competitions")
    """folder of prepared competitions"""
    competitions: tuple[str, ...] = ()
    """names to play; all prepared held-out competitions when none is given"""
    workers: int = 1
    """programs that run at the same time"""
    timing: Path | None = None
    """file for the record of where the time went"""


def main(arguments: Arguments) -> None:
    stopwatch = Stopwatch("evaluate_api_model", str(arguments.output_dir))
    config = read_config(arguments.config)
    environment = section(config, "environment", EnvironmentSettings)
    folder, output = arguments.competitions_dir, arguments.output_dir
    names = arguments.competitions or find_competitions(folder, "held_out")
    folders = [folder / name for name in names]
    usage, file = output / ".usage.jsonl", output / "episodes.parquet"
    model = ApiPolicy(
        section(config, "api_model", ApiModel),
        arguments.temperature,
        arguments.max_new_tokens,
        usage,
    )
    # What is said is text: fenced blocks can be read from any model, whatever its own calls are.
    episode = replace(section(config, "episode", EpisodeSettings), action_format="block")
    keys = episode_keys(0, 0, 0, arguments.num_episodes * len(names))
    with ExitStack() as opened:
        limits = section(config, "sandbox", SandboxSettings)
        sandbox = opened.enter_context(open_sandbox(limits, environment.engine, folders))
        known = open_competitions(folder, names, environment.told)
        # Not the budget: who raises it goes on.
        asked = {**config, "api_model": config["api_model"] | {"token_budget": None}}
        settled = [asked, len(keys), arguments.temperature, arguments.max_new_tokens]
        journal = opened.enter_context(journal_beside(file, model.name, folders, settled))
        dealt = deal_competitions(known, len(keys), 0)
        played = play(model, dealt, keys, sandbox, episode, arguments.workers, stopwatch, journal)
        with stopwatch.phase("grade"):
            half = judged_half(arguments.scoring)
            judged = dict(zip(names, open_competitions(folder, names, half), strict=True))
            scores = score_episodes(played, judged, model.name, 0, 0)
        with stopwatch.phase("write"):
            write_trajectories(file, played, facts={})
            write_csv(output / "turns.csv", turn_rows(played, model.name, 0, 0, "evaluation"))
            write_csv(output / "scores.csv", scores)
            spent = total_usage(usage)
            write_text(output / "usage.json", json.dumps(spent, indent=1) + "\n")
            journal.discard()
            usage.unlink()
    stopwatch.write(arguments.timing)
    print(f"{len(keys)} episodes, mean score {scores['score'].mean():.3f}, {spent}")


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Arguments, description=__doc__))
