"""What moved between two versions of a study's results."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from checkout import ROOT

from agent.evaluation.difference import compare_studies, difference_text

ROWS = pd.DataFrame(
    {
        "measure": ["score", "gain", "gain"],
        "policy": ["base", "trained", "trained"],
        "against": [None, "base", "dummy"],
        "value": [0.5, 0.1, 0.4],
        "low": [0.4, None, 0.3],
        "n_runs": [3, 3, 3],
        "note": ["", "few runs", ""],
    }
)
PLAYED = pd.DataFrame({"competition": ["a", "b"], "group": "held_out", "gain": [0.25, 0.5]})


def write(folder: Path, statistics: pd.DataFrame, competitions: pd.DataFrame = PLAYED) -> Path:
    folder.mkdir()
    statistics.to_csv(folder / "statistics.csv", index=False)
    competitions.to_csv(folder / "competitions.csv", index=False)
    return folder


def diff(*folders: Path) -> subprocess.CompletedProcess[str]:
    before, after = map(str, folders)
    command = [sys.executable, "scripts/diff_results.py", "--before", before, "--after", after]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_equal_results_have_not_moved_whatever_their_notes_say(tmp_path):
    lost = {"note": "other words", "missing_runs": "run 3"}
    one_lost = {"missing_runs_base": "run 3", "missing_runs_trained": ""}
    one = write(
        tmp_path / "one", ROWS.assign(missing_runs=""), PLAYED.assign(**dict.fromkeys(one_lost, ""))
    )
    two = write(tmp_path / "two", ROWS.assign(**lost), PLAYED.assign(**one_lost))
    assert compare_studies(one, two).empty
    done = diff(one, two)
    assert (done.returncode, done.stdout) == (0, "nothing moved\n")


def test_measures_that_moved_lead_by_size_and_bookkeeping_comes_last(tmp_path):
    changed = ROWS.assign(value=[0.5, 0.2, 0.1], low=[None, None, 0.31], n_runs=[3, 9, 3])
    one = write(tmp_path / "one", ROWS)
    two = write(tmp_path / "two", changed, PLAYED.assign(gain=[0.25, 0.45]))
    moved = compare_studies(one, two).moved
    assert moved[["row", "column"]].to_numpy().tolist() == [
        ["gain trained dummy", "value"],
        ["gain trained base", "value"],
        ["b held_out", "gain"],
        ["score base", "low"],  # it went, which has no size
        ["gain trained dummy", "low"],
        ["gain trained base", "n_runs"],
    ]
    changes = moved["change"].dropna().round(6).tolist()
    assert changes == [-0.3, 0.1, -0.05, 0.01, 6.0] and pd.isna(moved["change"][3])
    done = diff(one, two)
    assert done.returncode == 3
    assert done.stdout.splitlines()[1:5] == [
        "  statistics.csv: gain trained dummy: value 0.4 -> 0.1 (-0.3)",
        "  statistics.csv: gain trained base: value 0.1 -> 0.2 (+0.1)",
        "  competitions.csv: b held_out: gain 0.5 -> 0.45 (-0.05)",
        "  statistics.csv: score base: low 0.4 -> none",
    ]


def test_columns_that_came_or_went_are_named_and_change_no_row(tmp_path):
    one = write(tmp_path / "one", ROWS)
    two = write(
        tmp_path / "two", ROWS.drop(columns="low").assign(p_value=0.5, family="all of them")
    )
    difference = compare_studies(one, two)
    assert difference.new == ("statistics.csv: column p_value", "statistics.csv: column family")
    assert difference.missing == ("statistics.csv: column low",)
    assert difference.moved.empty
    again = write(tmp_path / "again", ROWS.assign(family="others"))
    assert compare_studies(again, write(tmp_path / "last", ROWS.assign(family="of two"))).empty


@pytest.mark.parametrize(
    ("name", "column"),
    [("tables/benchmark.csv", "Overall_elo"), ("competition_statistics.csv", "value")],
)
def test_other_tables_are_compared_where_both_have_them(tmp_path, name, column):
    folders = [write(tmp_path / folder, ROWS) for folder in ("one", "two")]
    for folder, value in zip(folders, (990.0, 1010.0), strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        pd.DataFrame({"policy": ["base"], column: [value]}).to_csv(folder / name, index=False)
    [row] = compare_studies(*folders).moved.to_dict("records")
    assert (row["table"], row["row"], row["column"], row["change"]) == (name, "base", column, 20.0)
    (folders[0] / name).unlink()
    difference = compare_studies(*folders)
    assert difference.new == (name,) and difference.moved.empty and not difference.missing


def test_rows_that_came_or_went_are_named(tmp_path):
    one = write(tmp_path / "one", ROWS)
    two = write(tmp_path / "two", ROWS.iloc[:2], pd.concat([PLAYED, PLAYED[:1].assign(group="x")]))
    difference = compare_studies(one, two)
    assert difference.new == ("competitions.csv: a x",)
    assert difference.missing == ("statistics.csv: gain trained dummy",)
    assert "1 new\n  competitions.csv: a x" in difference_text(difference)
    assert diff(one, two).returncode == 3


def test_a_folder_without_tables_is_an_error(tmp_path):
    done = diff(write(tmp_path / "one", ROWS), tmp_path / "none")
    assert done.returncode == 1 and done.stderr.startswith(f"error: {tmp_path}/none: holds none of")


def test_rows_of_the_same_name_are_an_error(tmp_path):
    twice = write(tmp_path / "one", pd.concat([ROWS, ROWS[:1]]))
    with pytest.raises(ValueError, match="two rows are named score base"):
        compare_studies(twice, twice)
