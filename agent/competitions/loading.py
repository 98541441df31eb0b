"""Opening a prepared competition for one half of its answers."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agent.competitions.metrics import METRICS
from agent.core.competition import Competition, Half, Metric

PUBLIC_BOARD = "data/private/public_leaderboard.csv"
PRIVATE_BOARD = "data/private/private_leaderboard.csv"
BOARDS: dict[Half, tuple[str, ...]] = {
    "feedback": (PUBLIC_BOARD,),
    "final": (PRIVATE_BOARD,),
    "both": (PRIVATE_BOARD, PUBLIC_BOARD),
}
ANSWERS: dict[Half, str] = {
    "feedback": "data/private/feedback_answer.csv",
    "final": "data/private/final_answer.csv",
    "both": "data/private/test_answer.csv",
}
CANARY = "canary"  # a column of private tables, a key of competition.json
REMEDY = "prepare it again"


def embedded_metric(facts: dict[str, Any]) -> Metric:
    """The metric of a competition of the embedded suite."""
    return METRICS[facts["metric"]]


def load_competition(
    folder: Path, half: Half, find_metric: Callable[[dict[str, Any]], Metric] = embedded_metric
) -> Competition:
    """Open `folder`, reading no answer and no leaderboard of the other half.

    find_metric: finds the metric that `competition.json` names.
    """
    facts = json.loads(_existing(folder / "competition.json").read_text(encoding="utf-8"))
    if half != "both" and "halves" in facts:
        raise ValueError(
            f"{folder}: its answers have no halves ({facts['halves']}); "
            "set environment.scoring: upstream"
        )
    sums = facts["files"]
    for path in sums:
        if path.startswith("data/public/"):
            _checked(folder, path, sums)
    sample = pd.read_csv(folder / "data/public/sample_submission.csv")
    answers = pd.read_csv(_checked(folder, ANSWERS[half], sums))
    boards = [pd.read_csv(_checked(folder, path, sums)) for path in BOARDS[half]]
    return Competition(
        name=facts["name"],
        group=facts["group"],
        data_set=facts["data_set"],
        task_type=facts["task_type"],
        description=(folder / "data/public/description.txt").read_text(encoding="utf-8"),
        public=folder / "data/public",
        metric=find_metric(facts),
        id_column=facts["id_column"],
        test_ids=sample[facts["id_column"]].to_numpy(),
        half=half,
        answers=answers.drop(columns=CANARY, errors="ignore"),
        leaderboards=tuple(board["score"].to_numpy(dtype=np.float64) for board in boards),
        canary=facts[CANARY],
    )


def public_digest(folder: Path) -> str:
    """One digest of all that an agent may see of a prepared competition."""
    facts = json.loads(_existing(folder / "competition.json").read_text(encoding="utf-8"))
    shown = {path: sha for path, sha in facts["files"].items() if path.startswith("data/public/")}
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def brief(description: str) -> str:
    """The facts of a description: its text up to the first blank line."""
    return description.split("\n\n", 1)[0]


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing from the competition; {REMEDY}")
    return path


def _checked(folder: Path, path: str, sums: dict[str, str]) -> Path:
    file = _existing(folder / path)
    if hashlib.sha256(file.read_bytes()).hexdigest() != sums[path]:
        raise ValueError(f"{file}: checksum differs from competition.json; {REMEDY}")
    return file
