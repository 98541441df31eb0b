"""The tables that evaluation starts from, read and checked once, at the boundary.

`scores` has one row per evaluated episode, `turns` one row per turn, and the training metrics one
row per (training seed, iteration). Scores are position scores in [0, 1]; `score` and
`first_score` come from the final half of the answers, `feedback_score` from the feedback half (each
from all of them where scoring is upstream's), and `raw_score` is the metric behind `score`.
"""

import json
import math
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from agent.evaluation.files import read_csv

AGENTS = ("base", "trained")  # the policies that play episodes; all others are yardsticks
BEST_OF_N = "base_best_of_n"  # its executions are the n that was used
GROUPS = ("train", "validation", "held_out")
ACTIONS = ("request_info", "validate_code", "execute_code", "get_history", "reset", "invalid")
OUTCOMES = (
    "ok",
    "invalid_submission",
    "no_submission",
    "timed_out",
    "crashed",
    "refused",
    "unparsable",
)

# Which answers count: those behind what agents are told, and those behind their scores.
Scoring = Literal["halves", "upstream"]
FEEDBACK_ANSWERS: dict[Scoring, str] = {"halves": "the feedback half", "upstream": "all answers"}
JUDGING_ANSWERS: dict[Scoring, str] = {"halves": "the final half", "upstream": "all answers"}

EPISODE_KEY = ["policy", "seed", "iteration", "group", "competition", "episode"]
SCORE_COLUMNS = (*EPISODE_KEY, "data_set", "task_type", "score")
AGENT_COLUMNS = (
    "first_score",
    "last_score",
    "feedback_score",
    "raw_score",
    "executions",
    "valid_submissions",
)
TURN_COLUMNS = (*EPISODE_KEY, "turn", "action", "outcome", "hack_attempts", "sandbox", "source")


def read_scores(path: Path) -> pd.DataFrame:
    """Read scores.csv; yardsticks may leave the columns about playing episodes empty.

    An episode of an agent without a valid submission has no last and no feedback score: both
    count as 0, as its score does.
    """
    scores = read_csv(path, (*SCORE_COLUMNS, *AGENT_COLUMNS))
    _reject_unknown(path, scores, "group", GROUPS)
    repeated = scores.duplicated(EPISODE_KEY)
    if repeated.any():
        episode = scores.loc[repeated, EPISODE_KEY].iloc[0].to_dict()
        raise ValueError(f"{path}: episode listed twice: {episode}; collect the scores again")
    agents = scores["policy"].isin(AGENTS)
    nothing_valid = agents & (scores["valid_submissions"] == 0)
    for column in ("first_score", "last_score", "feedback_score"):
        scores.loc[nothing_valid & scores[column].isna(), column] = 0.0
    for column in ("score", "first_score", "last_score", "feedback_score"):
        required = agents | (column == "score")
        _reject_outside_unit_interval(path, scores, column, required)
    _reject_impossible_counts(path, scores[agents])
    return scores


def read_turns(path: Path) -> pd.DataFrame:
    turns = read_csv(path, TURN_COLUMNS)
    _reject_unknown(path, turns, "action", ACTIONS)
    _reject_unknown(path, turns, "outcome", OUTCOMES)
    _reject_unknown(path, turns, "source", ("training", "evaluation"))
    return turns


def read_training_metrics(paths: list[Path], keys: tuple[str, ...]) -> pd.DataFrame:
    """One row per file with `seed`, `iteration` and `keys`, sorted by seed and iteration.

    A null, for what an update did not measure (nothing of a critic without one), is NaN.
    """
    rows = [_read_metrics(path, ("seed", "iteration", *keys)) for path in paths]
    if not rows:
        raise ValueError("training metrics: no file given; pass one metrics.json per update")
    metrics = pd.DataFrame(rows).sort_values(["seed", "iteration"], ignore_index=True)
    repeated = metrics.duplicated(["seed", "iteration"])
    if repeated.any():
        seed, iteration = metrics.loc[repeated, ["seed", "iteration"]].iloc[0]
        raise ValueError(f"training metrics: seed {seed}, iteration {iteration} is given twice")
    return metrics


def _read_metrics(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    metrics = json.loads(path.read_text())
    missing = [key for key in keys if key not in metrics]
    if missing:
        raise ValueError(f"{path}: metrics missing: {', '.join(missing)}; run the update again")
    return {key: math.nan if metrics[key] is None else metrics[key] for key in keys}


def _reject_unknown(path: Path, table: pd.DataFrame, column: str, known: tuple[str, ...]) -> None:
    unknown = sorted(set(table[column].dropna().astype(str)) - set(known))
    if unknown or table[column].isna().any():
        found = unknown[0] if unknown else "an empty cell"
        raise ValueError(f"{path}: {column} must be one of {', '.join(known)}; got {found}")


def _reject_outside_unit_interval(
    path: Path, scores: pd.DataFrame, column: str, required: pd.Series
) -> None:
    value = scores[column]
    wrong = ~value.between(0.0, 1.0) & (required | value.notna())
    if wrong.any():
        row = scores.loc[wrong, [*EPISODE_KEY, column]].iloc[0].to_dict()
        raise ValueError(f"{path}: {column} must be in [0, 1]; got {row}; evaluate it again")


def _reject_impossible_counts(path: Path, agents: pd.DataFrame) -> None:
    possible = agents["valid_submissions"].between(0, agents["executions"])
    if not possible.all():
        row = agents.loc[~possible, [*EPISODE_KEY, "executions", "valid_submissions"]].iloc[0]
        raise ValueError(
            f"{path}: valid_submissions must be in [0, executions]; got {row.to_dict()}"
        )
