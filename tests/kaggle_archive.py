"""Archives laid out as Kaggle's and DSBench's, with made-up rows, and a made-up checkout.

The columns are those that the real competition's prepare script and metric ask for.
"""

import io
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from agent.competitions.catalogue import CatalogueEntry
from agent.core.competition import InvalidSubmissionError

BOARD = "rank,score\n1,0.9\n2,0.8\n3,0.1\n"
REGISTRY = """
import importlib.util
import sys
from pathlib import Path


def load(slug, name):
    path = Path(__file__).parent / slug / "utils" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"made_up_{name}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as wrong:
        print(f"cannot load {path.name}: {wrong}", file=sys.stderr)
        return None
    return module


def get_prepare(slug):
    return getattr(load(slug, "prepare"), "prepare", None)


def get_metric(slug):
    return getattr(load(slug, "metric"), "MadeUpMetric", None)
"""
PREPARE = """
import os
import shutil

import numpy as np
import pandas as pd


def prepare(raw, public, private):
    os.system(f"unzip -q {raw / 'train.csv.zip'} -d {raw}")
    rows = pd.read_csv("train.csv", dtype=str)  # the working folder is raw
    test = rows.iloc[::2]
    print("splitting", len(rows), "rows")
    rows.iloc[1::2].to_csv(public / "train.csv", index=False)
    test.drop(columns="target").to_csv(public / "test.csv", index=False)
    test[["key", "target"]].to_csv(private / "test_answer.csv", index=False)
    sample = test[["key"]].assign(target=np.random.random(len(test)))
    sample.to_csv(public / "sample_submission.csv", index=False)
    shutil.rmtree(raw)
"""
METRIC = """
class MadeUpMetric:
    higher_is_better = False

    def validate_submission(self, submission, answers):
        if len(submission) != len(answers):
            raise ValueError("number of rows")

    def evaluate(self, answers, submission):
        both = answers.merge(submission, on="key")
        return (both["target_x"] - both["target_y"]).abs().mean()
"""


@dataclass(frozen=True)
class MeanError:
    """What `METRIC` computes, for tests that stay in one process; `limit` refuses few rows."""

    limit: int = 0
    name: str = "MeanError"
    higher_is_better: bool = False

    def validate(self, submission: pd.DataFrame, answers: pd.DataFrame) -> None:
        if len(submission) != len(answers):
            raise InvalidSubmissionError("number of rows")

    def evaluate(self, answers: pd.DataFrame, submission: pd.DataFrame) -> float:
        if len(answers) < self.limit:
            raise InvalidSubmissionError("too few\nrows to be scored")
        key = submission.columns[0]
        if key not in answers:
            raise InvalidSubmissionError(f"{key} is missing")
        both = answers.merge(submission, on=key)
        return float((both["target_x"] - both["target_y"]).abs().mean())


def catalogue_entry(slug: str, source: str = "kaggle", split: str = "training") -> CatalogueEntry:
    page = f"https://www.kaggle.com/competitions/{slug}"
    return CatalogueEntry(
        slug=slug,
        split=split,  # type: ignore[arg-type]
        category="",
        metric="MadeUpMetric",
        higher_is_better=False,
        metric_packages=(),
        source=source,  # type: ignore[arg-type]
        preparable=source == "kaggle",
        obstacle="",
        prepare_packages=(),
        size_mb=1.5,
        private_rows=3,
        public_rows=3,
        same_boards=True,
        licence="",
        licence_link=f"{page}/rules",
        page=page,
        tags=("Beginner", "Tabular"),
    )


def write_checkout(folder: Path, slug: str, prepare: str = PREPARE, metric: str = METRIC) -> str:
    """A repository laid out as MLE-Dojo's with one competition; returns its commit."""
    place = folder / "mledojo/competitions" / slug
    files = {
        folder / "mledojo/__init__.py": "",
        folder / "mledojo/competitions/__init__.py": REGISTRY,
        folder / ".gitignore": "__pycache__/\n",
        folder / "prepare/dsbench.py": 'url = "http://127.0.0.1:1/data.zip"\n',
        folder / "prepare/mle.json": f'{{"{slug}": {{"title": "A Made-Up Competition"}}}}\n',
        place / "info/description.txt": "Predict the target.\n",
        place / "info/public_leaderboard.csv": BOARD,
        place / "info/private_leaderboard.csv": BOARD,
        place / "utils/prepare.py": prepare,
        place / "utils/metric.py": metric,
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "-m", "x"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    head = ["git", "rev-parse", "HEAD"]
    return subprocess.run(head, cwd=folder, check=True, capture_output=True, text=True).stdout[:40]


def write_zip(path: Path, members: Mapping[str, str | bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zipped(members))
    return path


def zipped(members: Mapping[str, str | bytes]) -> bytes:
    """The same bytes for the same members, whenever they are made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False)


def made_up(path: Path, rows: int = 40) -> Path:
    """For `PREPARE`: one table, zipped again inside, with keys that a careless reader changes."""
    rng = np.random.default_rng(0)
    keys = [f"{1000 - row:05d}" for row in range(rows)]
    table = pd.DataFrame(
        {"key": keys, "x": rng.normal(size=rows), "target": rng.integers(0, 9, rows)}
    )
    return write_zip(path, {"train.csv.zip": zipped({"train.csv": csv(table)})})


def give_me_some_credit(path: Path, rows: int = 120) -> Path:
    """GiveMeSomeCredit: plain tables whose first column has no name."""
    rng = np.random.default_rng(0)

    def table(first: int) -> str:
        income = rng.normal(5000, 900, rows).round()
        columns = {
            "SeriousDlqin2yrs": rng.integers(0, 2, rows),
            "age": rng.integers(20, 80, rows),
            "MonthlyIncome": income,
        }
        return pd.DataFrame(columns, index=range(first, first + rows)).to_csv()

    sample = pd.DataFrame({"Id": range(1, rows + 1), "Probability": 0.5})
    members = {"cs-training.csv": table(1), "cs-test.csv": table(1), "sampleEntry.csv": csv(sample)}
    return write_zip(path, members)


def home_data(path: Path, rows: int = 100) -> Path:
    """home-data-for-ml-course: its prepare script draws the sample submission without a seed."""
    rng = np.random.default_rng(0)
    columns = {"Id": range(1, rows + 1), "LotArea": rng.integers(1000, 20000, rows)}
    test = pd.DataFrame(columns)
    train = test.assign(SalePrice=rng.integers(90_000, 400_000, rows))
    sample = train[["Id", "SalePrice"]]
    return write_zip(
        path, {"train.csv": csv(train), "test.csv": csv(test), "sample_submission.csv": csv(sample)}
    )


def poker(path: Path, rows: int = 200) -> Path:
    """poker-rule-induction: every table is zipped again inside the archive."""
    rng = np.random.default_rng(0)
    train = pd.DataFrame({"S1": rng.integers(1, 5, rows), "hand": rng.integers(0, 10, rows)})
    test = train.drop(columns="hand").assign(id=range(1, rows + 1))
    tables = {
        "train.csv": train,
        "test.csv": test,
        "sampleSubmission.csv": test[["id"]].assign(hand=0),
    }
    return write_zip(
        path, {f"{name}.zip": zipped({name: csv(table)}) for name, table in tables.items()}
    )


def nomad2018(path: Path, rows: int = 30) -> Path:
    """nomad2018-predict-transparent-conductors: a folder of geometries per row, zipped inside."""
    rng = np.random.default_rng(0)
    columns = {
        "id": range(1, rows + 1),
        "percent_atom_al": rng.uniform(0, 1, rows).round(4),
        "formation_energy_ev_natom": rng.uniform(0, 0.5, rows).round(4),
        "bandgap_energy_ev": rng.uniform(1, 5, rows).round(4),
    }
    train = pd.DataFrame(columns)
    geometries = {
        side: zipped({f"{side}/{row}/geometry.xyz": f"atom {row}\n" for row in columns["id"]})
        for side in ("train", "test")
    }
    return write_zip(
        path,
        {
            "train.csv.zip": zipped({"train.csv": csv(train)}),
            "test.csv.zip": zipped({"test.csv": csv(train.iloc[:, :2])}),
            **{f"{side}.zip": content for side, content in geometries.items()},
        },
    )


# The second task keeps its sample submission under a name of its own.
SAMPLE_NAMES = {
    "titanic": "gender_submission.csv",
    "tabular-playground-series-sep-2021": "sample_solution.csv",
}
DSBENCH_COLUMNS = {
    "titanic": ("PassengerId", "Survived"),
    "tabular-playground-series-sep-2021": ("id", "claim"),
}


def dsbench_members(slug: str, rows: int = 30) -> dict[str, str]:
    """One task's files in DSBench's archive: binary labels by id."""
    rng = np.random.default_rng(0)
    key, target = DSBENCH_COLUMNS[slug]
    test = pd.DataFrame({key: range(1001, 1001 + rows), "x": rng.normal(size=rows).round(3)})
    labels = [pd.Series(rng.integers(0, 2, rows), name=target) for _ in range(2)]
    train = pd.concat([test.assign(**{key: range(1, rows + 1)}), labels[0]], axis=1)
    answers = pd.concat([test[[key]], labels[1]], axis=1)
    tables = f"data/data_resplit/{slug}"
    return {
        f"{tables}/train.csv": csv(train),
        f"{tables}/test.csv": csv(test),
        f"{tables}/{SAMPLE_NAMES[slug]}": csv(test[[key]].assign(**{target: 1})),
        f"data/answers/{slug}/test_answer.csv": csv(answers),
        f"data/task/{slug}.txt": f"The task of {slug}.\n",
    }


def dsbench(path: Path) -> Path:
    """DSBench's archive with two tasks, and what a certain operating system leaves in archives."""
    members = {"__MACOSX/data/._x": "x"}
    for slug in SAMPLE_NAMES:
        members |= dsbench_members(slug)
    return write_zip(path, members)
