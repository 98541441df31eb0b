"""A tiny competition: the public files that programs are given, and the answers."""

from pathlib import Path

import numpy as np
import pandas as pd


def tables() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """train (id, x0 to x3, kind, target), test (the same without target) and answers."""
    random = np.random.default_rng(0)
    rows, train_rows = 200, 150
    table = pd.DataFrame(random.normal(size=(rows, 4)), columns=["x0", "x1", "x2", "x3"]).round(6)
    table.insert(0, "id", np.arange(rows))
    table["kind"] = np.array(["red", "green", "blue"])[random.integers(0, 3, rows)]
    noise = random.normal(scale=0.3, size=rows)
    table["target"] = (table["x0"] - 2 * table["x1"] ** 2 + (table["kind"] == "red") + noise).round(
        6
    )
    train, test = table[:train_rows], table[train_rows:]
    return train, test.drop(columns="target"), test[["id", "target"]]


def public_files() -> dict[str, str]:
    train, test, answers = tables()
    sample = answers.assign(target=train["target"].mean().round(6))
    named = {"train.csv": train, "test.csv": test, "sample_submission.csv": sample}
    return {name: table.to_csv(index=False) for name, table in named.items()}


def write_public(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, text in public_files().items():
        (folder / name).write_text(text)
