"""How often intervals hold the truth in simulated studies, and how that is told."""

import pandas as pd
import pytest

from agent.evaluation.interval_worth import TABLE, data_sets_note, runs_note, simulated_coverage
from benchmarks.coverage import MEASURES, SETTINGS, coverage, data_sets_coverage, false_claims


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_simulated_studies_hold_the_truth_as_often_as_promised(setting) -> None:
    """A small version of benchmarks/coverage.py, whose figures are in coverage.csv."""
    covered = coverage(setting, 5, 200)
    for name in MEASURES:
        assert 0.89 <= covered[name, "clustered"] <= 0.995
    assert covered["gain_iqm", "runs"] < 0.945  # 50 studies: percentiles cover too little


def test_percentiles_of_runs_within_competitions_miss_runs_that_differ_as_a_whole() -> None:
    unlike = SETTINGS[1]
    covered = coverage(unlike, 3, 160)
    assert covered["gain_iqm", "stratified"] < 0.8 < covered["gain_iqm", "clustered"]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_studies_without_an_effect_rarely_claim_one(setting) -> None:
    assert false_claims(setting, 3, 200) <= 0.06


def test_percentiles_of_seven_data_sets_hold_the_truth_too_rarely() -> None:
    alike, unlike = (data_sets_coverage(setting, 3, 7, 120) for setting in SETTINGS)
    for name in MEASURES:
        assert unlike[name] < alike[name] < 0.94 and alike[name] > 0.78


def test_the_table_of_coverage_says_what_the_benchmark_must_show() -> None:
    for runs in (5, 10):
        low, high, _ = simulated_coverage("clustered", runs)
        assert 0.93 <= low <= high <= 0.97
        assert runs_note(runs, "clustered") == ""
    assert simulated_coverage("runs", 3)[1] < 0.93
    low, high, _ = simulated_coverage("clustered", 3)
    told = f"only 3 runs: held the truth in {low:.0%} to {high:.0%} of simulated studies"
    assert runs_note(3, "clustered") == told and runs_note(1, "clustered") == "one run: no interval"


def test_an_interval_that_held_too_rarely_is_told_however_many_runs_there_are() -> None:
    table = pd.read_csv(TABLE)
    for runs, known in ((5, 5), (10, 10), (40, 10)):
        rows = table[(table["runs"] == known) & (table["interval"] == "stratified")]["share"]
        told = f"{runs} runs: held the truth in {rows.min():.0%} to {rows.max():.0%} of simulated "
        others = "" if runs == known else " with 10 runs"
        assert runs_note(runs, "stratified") == f"{told}studies{others}"
    seven = (table["data_sets"] == 7) & (table["runs"] == 3)
    shares = table[seven]["share"]
    assert data_sets_note(7, 3) == (
        "7 data sets, training runs held fixed: held the truth in "
        f"{shares.min():.0%} to {shares.max():.0%} of simulated studies"
    )
    assert data_sets_note(6, 4).endswith("of simulated studies with 7 data sets and 3 runs")
    assert data_sets_note(3, 3).startswith("only 3 data sets")
    assert data_sets_note(1, 3) == "one data set: no interval"


def test_the_readme_quotes_the_table_of_coverage() -> None:
    text, table = TABLE.with_name("README.md").read_text(), pd.read_csv(TABLE)
    names = {"gain_iqm": "gain (IQM)", "gain_mean": "gain (mean)"}
    names["probability_of_improvement"] = "P(improvement)"
    for (setting, measure, runs), cell in table.groupby(["setting", "measure", "runs"]):
        if measure in names and runs in (3, 5, 10):
            [line] = [
                line
                for line in text.splitlines()
                if line.startswith(f"| {setting} | {names[measure]} | {runs} |")
            ]
            quoted = [float(part.strip(" %")) for part in line.split("|")[4:7]]
            shares = cell.set_index("interval")["share"][["clustered", "runs", "stratified"]]
            assert quoted == pytest.approx(list(100 * shares), abs=0.0501)
    by_data_sets = table[table["interval"] == "data_sets"]
    for data_sets, rows in by_data_sets.groupby("data_sets"):
        of_runs = rows.groupby("runs")["share"].agg(["min", "max"]) * 100
        cells = [f"{low:.0f}\N{EN DASH}{high:.0f} %" for low, high in of_runs.to_numpy()]
        assert f"| {data_sets:.0f} | {' | '.join(cells)} |" in text
    claims = table[table["measure"] == "false_claim"]["share"] * 100
    assert f"in {claims.min():g} to {claims.max():g} % of the 400" in text and claims.max() < 5
