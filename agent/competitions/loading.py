"""Opening a prepared competition for one half of its answers."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from agent.competitions.metrics import METRICS
from agent.core.competition import Competition, Half

BOARDS: dict[Half, str] = {
    "feedback": "data/private/public_leaderboard.csv",
    "final": "data/private/private_leaderboard.csv",
}
CANARY = "canary"  # a column of private tables, a key of competition.json
REMEDY = "prepare it again with scripts/prepare_competition.py"


def load_competition(folder: Path, half: Half) -> Competition:
    """Open `folder`, reading no answer and no leaderboard of the other half."""
    facts = json.loads(_existing(folder / "competition.json").read_text(encoding="utf-8"))
    sums = facts["files"]
    _checked(folder, "data/public/train.csv", sums)
    _checked(folder, "data/public/sample_submission.csv", sums)
    test = pd.read_csv(_checked(folder, "data/public/test.csv", sums))
    description = _checked(folder, "data/public/description.txt", sums).read_text(encoding="utf-8")
    answers = pd.read_csv(_checked(folder, f"data/private/{half}_answer.csv", sums))
    answers = answers.drop(columns=CANARY)
    board = pd.read_csv(_checked(folder, BOARDS[half], sums))
    return Competition(
        name=facts["name"],
        group=facts["group"],
        data_set=facts["data_set"],
        task_type=facts["task_type"],
        description=description,
        public=folder / "data/public",
        metric=METRICS[facts["metric"]],
        id_column="id",
        test_ids=test["id"].to_numpy(),
        half=half,
        answers=answers,
        leaderboard=board["score"].to_numpy(dtype=np.float64),
        canary=facts[CANARY],
    )


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
