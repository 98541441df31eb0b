"""Writing a prepared competition: MLE-Dojo's files, a description and `competition.json`."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from agent.competitions.conditions import CONDITIONS
from agent.competitions.loading import CANARY
from agent.competitions.metrics import METRICS, SubmissionMetric
from agent.competitions.preparation import FLOAT_FORMAT, Tables, assemble
from agent.competitions.suite import Entry

SUBMISSION_MEANING = {
    "label": "class label",
    "probability": "probability of class 1",
    "probabilities": "probability of each class",
    "value": "value",
    "non_negative": "value, not negative",
    "positive": "value, above zero",
}


def prepare_competition(entry: Entry, leaderboard: Path, output: Path) -> None:
    """Write the competition's folder at once: built beside its place, then renamed into it."""
    tables = assemble(entry)
    files = competition_files(entry, tables, read_leaderboard(leaderboard))
    partial = output.with_name(f".{output.name}.partial-{os.getpid()}")
    try:
        for path, text in files.items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            (partial / path).write_text(text, encoding="utf-8", newline="\n")
        shutil.rmtree(output, ignore_errors=True)
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def competition_files(entry: Entry, tables: Tables, board: pd.DataFrame) -> dict[str, str]:
    """Every file's text by its path inside the competition's folder."""
    metric = METRICS[entry.metric]
    mark = canary(entry.name)
    answers = pd.concat([tables.feedback, tables.final]).sort_values("id")
    files = {
        "data/public/description.txt": describe(entry, tables),
        "data/public/train.csv": to_csv(tables.train),
        "data/public/test.csv": to_csv(tables.test),
        "data/public/sample_submission.csv": to_csv(sample_submission(tables, metric)),
        "data/private/test_answer.csv": to_csv(answers.assign(canary=mark)),
        "data/private/feedback_answer.csv": to_csv(tables.feedback.assign(canary=mark)),
        "data/private/final_answer.csv": to_csv(tables.final.assign(canary=mark)),
        "data/private/public_leaderboard.csv": rank_scores(board["feedback"], metric, mark),
        "data/private/private_leaderboard.csv": rank_scores(board["final"], metric, mark),
    }
    facts = competition_facts(entry, tables) | {CANARY: mark}
    facts["files"] = {path: digest(text.encode()) for path, text in sorted(files.items())}
    files["competition.json"] = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    return files


def read_leaderboard(path: Path) -> pd.DataFrame:
    """The reference pool's scores: pipeline, feedback, final."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no leaderboard; build it with scripts/reference_pool.py")
    board = pd.read_csv(path)
    if list(board.columns) != ["pipeline", "feedback", "final"] or board.isna().any(axis=None):
        raise ValueError(
            f"{path}: expected pipeline,feedback,final without gaps; "
            "rebuild it with scripts/reference_pool.py"
        )
    return board


def rank_scores(scores: pd.Series, metric: SubmissionMetric, mark: str) -> str:
    """MLE-Dojo's board: `rank,score`, best first; and the mark."""
    ordered = np.sort(scores.to_numpy())
    ordered = ordered[::-1] if metric.higher_is_better else ordered
    places = np.arange(1, len(ordered) + 1)
    return to_csv(pd.DataFrame({"rank": places, "score": ordered, CANARY: mark}))


def canary(name: str) -> str:
    """A mark that no text holds by chance, for every line of a competition's private files.

    It is a function of the name, so that preparing a competition twice gives the same bytes.
    """
    return f"canary-{hashlib.blake2b(name.encode(), digest_size=12).hexdigest()}"


def sample_submission(tables: Tables, metric: SubmissionMetric) -> pd.DataFrame:
    """The same valid prediction for every row; it knows the training targets' average at most."""
    classes = tables.problem.classes
    target = tables.train["target"]
    constant = {
        "label": float(target.mode()[0]),
        "probability": 0.5,
        "probabilities": 1 / max(classes, 1),
    }.get(metric.prediction, float(target.mean()))
    columns = metric.columns(classes)
    return tables.test[["id"]].assign(**dict.fromkeys(columns, constant))


def competition_facts(entry: Entry, tables: Tables) -> dict[str, object]:
    return {
        "name": entry.name,
        "title": tables.problem.title,
        "group": entry.group,
        "data_set": entry.data_set,
        "task_type": tables.problem.task_type,
        "metric": entry.metric,
        "higher_is_better": METRICS[entry.metric].higher_is_better,
        "condition": entry.condition,
        "classes": tables.problem.classes,
        "id_column": "id",
        "train_rows": len(tables.train),
        "test_rows": len(tables.test),
        "source": tables.problem.data_set.source,
        "copyright": tables.problem.data_set.copyright,
    }


def describe(entry: Entry, tables: Tables) -> str:
    """What the agent reads: one fact a line, the same words for the same fact everywhere."""
    problem, metric = tables.problem, METRICS[entry.metric]
    better = "higher" if metric.higher_is_better else "lower"
    features = [column for column in tables.test.columns if column != "id"]
    columns = ",".join(["id", *metric.columns(problem.classes)])
    facts = [
        f"# {problem.title}",
        f"task: {_task(problem.classes)}",
        f"metric: {metric.title} ({better} is better)",
        f"condition: {CONDITIONS[entry.condition].sentence}",
        *_order(problem.ordered, "lag1" in features),
        f"rows: {_amount(len(tables.train), 60, 150)}",
        f"columns: {_amount(len(features), 4, 30)}",
        f"submission: {columns} ({SUBMISSION_MEANING[metric.prediction]})",
    ]
    origin = [
        problem.about,
        f"train.csv has {len(tables.train)} rows, test.csv {len(tables.test)}, "
        f"with {len(features)} columns to predict from.",
        f"data: {problem.data_set.about}",
        f"source: {problem.data_set.source}",
        f"copyright: {problem.data_set.copyright}",
    ]
    return "\n".join([*facts, "", *origin]) + "\n"


def _task(classes: int) -> str:
    kinds = {0: "regression", 2: "binary classification"}
    return kinds.get(classes, "multiclass classification")


def _order(ordered: bool, lagged: bool) -> list[str]:
    rows, latest = "rows in time order", "lag1 is the latest value"
    if not (ordered or lagged):
        return []
    return ["order: " + "; ".join([rows] * ordered + [latest] * lagged)]


def _amount(number: int, few: int, some: int) -> str:
    return "few" if number <= few else "some" if number <= some else "many"


def to_csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, float_format=FLOAT_FORMAT, lineterminator="\n")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
