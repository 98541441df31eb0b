"""Score what a claim of learning is measured against, on the held-out competitions.

Random programs of the warm start's grammar are run for real; fixed programs and portfolios, chosen
on training competitions, are read off the reference pool; the base's best of n independent first
attempts is drawn from its evaluation, with n the executions that the trained policy used.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from agent.competitions.loading import load_competition
from agent.core.actions import format_action
from agent.core.errors import one_line_errors
from agent.core.records import Conversation
from agent.core.settings import read_config, section
from agent.core.timing import Stopwatch
from agent.evaluation.yardsticks import (
    best_of_n,
    choose_portfolio,
    pool_positions,
    portfolio_score,
    training_matrix,
)
from agent.grading import SCORE_COLUMNS, score_episodes
from agent.rollout import (
    EpisodeSettings,
    SandboxSettings,
    deal_competitions,
    episode_keys,
    load_competitions,
    open_sandbox,
    play,
)
from agent.training.grammar import random_program
from agent.training.teacher import read_task
from agent.wrappers.scripted_policy import ScriptedPolicy


def main(
    competitions_table: Path,
    competitions_dir: Path,
    leaderboards: Path,
    base: list[Path],
    trained: list[Path],
    num_episodes: int,
    config: str,
    output: Path,
    timing: Path | None = None,
) -> None:
    """Write one row per yardstick, competition and episode.

    Args:
        competitions_table: the table of competitions and their groups
        competitions_dir: folder of prepared competitions
        leaderboards: folder of the reference pool's scores
        base: scores.csv of the base model, one per run
        trained: scores.csv of the final policies, one per run
        num_episodes: random programs, and draws of best-of-n, per competition
        config: YAML file, or inline JSON, with the sections episode and sandbox
        output: table to write
        timing: file for the record of where the time went
    """
    stopwatch = Stopwatch("evaluate_yardsticks", output.name)
    table = pd.read_csv(competitions_table, sep="\t", comment="#").set_index("competition")
    held_out = table.index[table["group"] == "held_out"].tolist()
    base_scores = pd.concat([pd.read_csv(path) for path in base])
    tries = int(np.ceil(pd.concat([pd.read_csv(path) for path in trained])["executions"].mean()))
    with stopwatch.phase("grade"):
        rows = _pool_rows(table, competitions_dir, leaderboards, tries)
        for number, name in enumerate(held_out):
            attempts = base_scores[base_scores["competition"] == name]
            drawn = best_of_n(attempts, tries, num_episodes, seed=number)
            rows.append(drawn.assign(policy="base_best_of_n", competition=name))
    rows.append(_random_programs(held_out, competitions_dir, num_episodes, config, stopwatch))
    scores = pd.concat(rows)
    scores = scores.drop(columns=["group", "data_set", "task_type"], errors="ignore").join(
        table[["group", "data_set", "task_type"]], on="competition"
    )
    scores = scores.assign(seed=0, iteration=0).reindex(columns=SCORE_COLUMNS)
    scores.to_csv(output, index=False, float_format="%.10g")
    stopwatch.write(timing)


def _pool_rows(
    table: pd.DataFrame, competitions_dir: Path, leaderboards: Path, tries: int
) -> list[pd.DataFrame]:
    """Dummy, best fixed program and constant portfolio, from the reference pool."""
    positions = {}
    for name in table.index[table["group"].isin(["train", "held_out"])]:
        facts = json.loads((competitions_dir / name / "competition.json").read_text())
        board = pd.read_csv(leaderboards / f"{name}.csv")
        positions[name] = pool_positions(board, facts["higher_is_better"])
    rows = []
    for kind, members in table.groupby("task_type"):
        train = members.index[members["group"] == "train"]
        matrix = training_matrix(positions, train)
        chosen = choose_portfolio(matrix, members["data_set"], tries)
        print(f"{kind}: best fixed program {chosen[0]}, portfolio {chosen}")
        policies = {
            "dummy": [DUMMIES[str(kind)]],
            "best_fixed_program": chosen[:1],
            "fixed_portfolio": chosen,
        }
        for policy, portfolio in policies.items():
            rows += [
                pd.DataFrame(
                    {
                        "policy": [policy],
                        "competition": [name],
                        "episode": [0],
                        "score": [portfolio_score(positions[name], portfolio)],
                        "executions": [len(portfolio)],
                    }
                )
                for name in members.index[members["group"] == "held_out"]
            ]
    return rows


def _random_programs(
    names: list[str], competitions_dir: Path, episodes: int, config: str, stopwatch: Stopwatch
) -> pd.DataFrame:
    """First attempts drawn from the grammar, all fit for their task, run and graded for real."""

    def script(conversation: Conversation, rng: np.random.Generator) -> str:
        task = read_task(conversation.messages[1].content)
        return format_action("execute_code", random_program(task, 0.0, rng).source())

    settings = read_config(config)
    episode = replace(section(settings, "episode", EpisodeSettings), max_turns=1)
    with open_sandbox(section(settings, "sandbox", SandboxSettings)) as sandbox:
        known = load_competitions(competitions_dir, names)
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
        final = {name: load_competition(competitions_dir / name, "final") for name in names}
        return score_episodes(trajectories, final, "random_program", 0, 0)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
