"""What a score costs: two runs by hand."""

import json
from pathlib import Path

import pandas as pd
import pytest
from synthetic_study import synthetic_timings

from agent.evaluation.cost_of_scores import PLAYED_COLUMNS, cost_table
from agent.evaluation.time_split import JobTiming, read_timings


def played(*rows: tuple[int, int, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(PLAYED_COLUMNS))


@pytest.fixture
def jobs(tmp_path: Path) -> list[JobTiming]:
    """Two jobs at once, of 60 s and 40 s: both count."""
    record = synthetic_timings()[0]
    for name, ended in (("longer", 160.0), ("shorter", 140.0)):
        times = {"started": 100.0, "ended": ended, "seconds": {}}
        (tmp_path / f"{name}.json").write_text(json.dumps(record | times))
    return read_timings([tmp_path])


def scores(trained: float = 0.65) -> pd.DataFrame:
    """Means are 0.5 and `trained`; what was evaluated earlier or on training does not count."""
    rows = [
        *(("base", run, 0, "held_out", score) for run, score in ((0, 0.4), (1, 0.6))),
        *(("trained", run, 2, "held_out", trained) for run in (0, 1)),
        ("trained", 0, 1, "held_out", 0.1),
        ("trained", 0, 2, "train", 0.9),
    ]
    return pd.DataFrame(rows, columns=["policy", "seed", "iteration", "group", "score"])


BASE = played((0, 100, 1.0, 2.0, 0.5), (1, 300, 3.0, 4.0, 1.5))
TRAINED = played((0, 50, 1.0, 1.0, 0.5), (0, 70, 1.0, 1.0, 0.5), (1, 60, 2.0, 2.0, 0.0))
TRAINING = played((0, 4000, 9.0, 9.0, 9.0), (1, 2000, 1.0, 2.0, 3.0))


def test_costs_are_those_computed_by_hand(jobs: list[JobTiming]) -> None:
    table = cost_table(scores(), BASE, TRAINED, TRAINING, jobs)
    assert list(zip(table["stage"], table["policy"], table["unit"], strict=True)) == [
        ("evaluation", "base", "episode"),
        ("evaluation", "trained", "episode"),
        ("training", "trained", "run"),
    ]
    expected = {
        "n_runs": (2, 2, 2),
        "n_episodes": (2, 3, 2),
        "brought": (0.5, 0.65, 0.15),
        "tokens": (400 / 2, 180 / 3, 6000 / 2),
        "seconds": (12.0 / 2, 9.0 / 3, 100.0 / 2),
        "generate_seconds": (4.0 / 2, 4.0 / 3, 10.0 / 2),
        "execute_seconds": (6.0 / 2, 4.0 / 3, 11.0 / 2),
        "grade_seconds": (2.0 / 2, 1.0 / 3, 12.0 / 2),
        "tokens_per_point": (200 / 50, 60 / 65, 3000 / 15),
        "seconds_per_point": (6.0 / 50, 3.0 / 65, 50.0 / 15),
    }
    for column, values in expected.items():
        assert table[column].tolist() == pytest.approx(list(values), abs=1e-12), column
    assert set(table) == {"stage", "policy", "unit", *expected}


def test_what_brought_nothing_has_no_cost_per_point(jobs: list[JobTiming]) -> None:
    training = cost_table(scores(trained=0.45), BASE, TRAINED, TRAINING, jobs).iloc[2]
    assert training["brought"] == pytest.approx(-0.05) and training["tokens"] == 3000
    assert training[["tokens_per_point", "seconds_per_point"]].isna().all()


def test_episodes_of_other_runs_than_were_scored_are_refused(jobs: list[JobTiming]) -> None:
    with pytest.raises(ValueError, match="2 runs of base, but episodes of 1"):
        cost_table(scores(), BASE.head(1), TRAINED, TRAINING, jobs)
