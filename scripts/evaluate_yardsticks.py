"""Score what a claim of learning is measured against, on the held-out competitions.

Random programs of the warm start's grammar are run for real; fixed programs and portfolios, chosen
on training competitions, are read off the reference pool; what the best of n first attempts of the
base is expected to score comes from its evaluation, with n the executions of the trained policy.
Where there is no reference pool, the sample submission stands for the one that knows nothing.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from agent.core.actions import format_action
from agent.core.competition import Half, InvalidSubmissionError
from agent.core.environment import grade
from agent.core.errors import one_line_errors
from agent.core.records import Conversation
from agent.core.settings import read_config, section
from agent.core.timing import Stopwatch
from agent.evaluation.files import write_csv
from agent.evaluation.yardsticks import best_of_n, pool_positions, pool_scores
from agent.grading import SCORE_COLUMNS, score_episodes
from agent.rollout import (
    EnvironmentSettings,
    EpisodeSettings,
    Scoring,
    deal_competitions,
    episode_keys,
    judged_half,
    open_competitions,
    open_sandbox,
    play,
)
from agent.sandbox.opening import SandboxSettings
from agent.training.grammar import random_program
from agent.training.teacher import read_task
from agent.wrappers.scripted_policy import ScriptedPolicy

FACTS = ["group", "data_set", "task_type"]


def main(
    competitions_table: Path,
    leaderboards: Path,
    base: list[Path],
    trained: list[Path],
    num_episodes: int,
    config: str,
    output: Path,
    scoring: Scoring = "halves",
    competitions_dir: Path = Path("results/competitions"),
    timing: Path | None = None,
) -> None:
    """Write one row per yardstick, competition and episode.

    Args:
        competitions_table: the table of competitions and their groups.
        leaderboards: folder of the reference pool's scores.
        base: scores.csv of the base model, one per run.
        trained: scores.csv of the final policies, one per run.
        num_episodes: random programs per competition.
        config: YAML file, or inline JSON, with the sections episode and sandbox.
        output: table to write.
        scoring: the answers that judge: the final half, or as upstream all of them.
        competitions_dir: folder of prepared competitions.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("evaluate_yardsticks", output.name)
    table = pd.read_csv(competitions_table, sep="\t", comment="#")
    held_out = table.loc[table["group"] == "held_out", "competition"].tolist()
    executions = pd.concat([pd.read_csv(path) for path in trained])["executions"]
    tries = max(1, int(np.ceil(executions.mean())))
    pooled = table["competition"].map(lambda name: (leaderboards / f"{name}.csv").is_file())
    half = judged_half(scoring)
    rows = [_best_of_base(base, held_out, tries)]
    known = set(table.loc[pooled, "competition"])
    if asked := [name for name in held_out if name in known]:
        rows.append(_pool_scores(table[pooled], competitions_dir, leaderboards, tries))
        rows.append(
            _random_programs(asked, competitions_dir, num_episodes, config, half, stopwatch)
        )
    if asked := [name for name in held_out if name not in known]:
        rows.append(_sample_submissions(asked, competitions_dir, half))
    scores = pd.concat(rows).drop(columns=FACTS, errors="ignore")
    scores = scores.merge(table[["competition", *FACTS]]).assign(seed=0, iteration=0)
    scores = scores.reindex(columns=SCORE_COLUMNS)
    write_csv(output, scores.sort_values(["policy", "competition", "episode"]))
    stopwatch.write(timing)


def _pool_scores(
    table: pd.DataFrame, competitions_dir: Path, leaderboards: Path, size: int
) -> pd.DataFrame:
    positions = {}
    for name in table.loc[table["group"].isin(["train", "held_out"]), "competition"]:
        facts = json.loads((competitions_dir / name / "competition.json").read_text())
        board = pd.read_csv(leaderboards / f"{name}.csv")
        positions[name] = pool_positions(board, facts["higher_is_better"])
    return pool_scores(table, positions, size)


def _best_of_base(paths: list[Path], names: list[str], tries: int) -> pd.DataFrame:
    base = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    expected = [best_of_n(base[base["competition"] == name], tries) for name in names]
    table = pd.DataFrame(expected, columns=["score", "executions"])
    return table.assign(policy="base_best_of_n", competition=names, episode=0)


def _sample_submissions(names: list[str], competitions_dir: Path, half: Half) -> pd.DataFrame:
    """What the file scores that every competitor is given; 0 where the metric refuses it."""
    scores = []
    for competition in open_competitions(competitions_dir, names, half):
        sample = (competition.public / "sample_submission.csv").read_bytes()
        try:
            scores.append(grade(competition, sample)[1])
        except InvalidSubmissionError:
            scores.append(0.0)
    rows = {"policy": "dummy", "competition": names, "episode": 0, "score": scores}
    return pd.DataFrame(rows | {"executions": 0})


def _random_programs(
    names: list[str],
    competitions_dir: Path,
    episodes: int,
    config: str,
    half: Half,
    stopwatch: Stopwatch,
) -> pd.DataFrame:
    """First attempts drawn from the grammar, all fit for their task, run and graded for real."""

    def script(conversation: Conversation, rng: np.random.Generator) -> str:
        task = read_task(conversation.messages[1].content)
        return format_action("execute_code", random_program(task, 0.0, rng).source())

    settings = read_config(config)
    environment = section(settings, "environment", EnvironmentSettings)
    episode = section(settings, "episode", EpisodeSettings)
    episode = replace(episode, max_turns=1, action_format="block")
    limits = section(settings, "sandbox", SandboxSettings)
    folders = [competitions_dir / name for name in names]
    with open_sandbox(limits, environment.engine, folders) as sandbox:
        known = open_competitions(competitions_dir, names, environment.told)
        total = episodes * len(known)
        trajectories = play(
            ScriptedPolicy("random_program", script),
            deal_competitions(known, total, 0),
            episode_keys(0, 0, 0, total),
            sandbox,
            episode,
            1,
            stopwatch,
        )
    with stopwatch.phase("grade"):
        judged = open_competitions(competitions_dir, names, half)
        by_name = dict(zip(names, judged, strict=True))
        return score_episodes(trajectories, by_name, "random_program", 0, 0)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
