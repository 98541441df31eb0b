"""How often intervals hold the truth in simulated studies, and how that is told."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_study import synthetic_turns

from agent.evaluation.comparison import compare_competitions, compare_policies
from agent.evaluation.headline import headline, shows_improvement
from agent.evaluation.interval_worth import TABLE, data_sets_note, runs_note, simulated_coverage
from agent.evaluation.statistics import ScoreMatrix, iqm
from benchmarks import coverage_figure
from benchmarks.coverage import MEASURES, coverage, data_sets_coverage
from benchmarks.null_studies import (
    NULLS,
    YARDSTICKS,
    corrected_gain,
    false_claims,
    null_study,
    yardsticks,
)
from benchmarks.simulated_studies import (
    BASE,
    NO_EFFECT,
    RESAMPLES,
    SETTINGS,
    TRAINED,
    matrix,
    scores,
)


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


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_studies_without_an_effect_rarely_claim_one(setting, null) -> None:
    assert false_claims(null, setting, 3, 60 if null == NULLS[-1] else 200) <= 0.06


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_null_study_has_no_gain_in_the_long_run(setting) -> None:
    rng = np.random.default_rng(5)
    for null in NULLS:
        trained, base = (policy.values for policy in null_study(null, setting, 4000, rng))
        assert iqm_of(trained) - iqm_of(base) == pytest.approx(0.0, abs=0.006)
        alike = trained.mean(1).std() == pytest.approx(base.mean(1).std(), rel=0.1)
        assert alike == (null == "false_claim")


def iqm_of(values: np.ndarray) -> float:
    return float(iqm(values, np.ones((1, *values.shape)))[0])


def as_scores(study: list[ScoreMatrix]) -> pd.DataFrame:
    """One episode in each cell; what the measures beside the score say does not matter."""
    rows = [
        {"policy": policy, "seed": run, "competition": name, "score": score}
        for policy, played in zip(("trained", "base", *YARDSTICKS), study, strict=True)
        for run, scores in zip(played.runs, played.values, strict=True)
        for name, score in zip(played.competitions, scores, strict=True)
    ]
    facts = {"iteration": 0, "group": "held_out", "episode": 0, "executions": 2}
    scores = pd.DataFrame(rows).assign(**facts, valid_submissions=1, task_type="regression")
    same = {f"{column}_score": scores["score"] for column in ("first", "last", "feedback")}
    return scores.assign(data_set=scores["competition"], **same)


@pytest.mark.parametrize(("levels", "shown"), [(TRAINED, False), (BASE, True)])
def test_a_null_study_is_judged_by_the_rule_of_the_headline(levels, shown) -> None:
    rng = np.random.default_rng(1)
    policies = ((TRAINED, SETTINGS[0]), (levels, NO_EFFECT))
    study = [matrix(scores(*policy, 3, rng)) for policy in policies]
    table = as_scores([*study, *yardsticks()])
    measures = compare_policies(table, RESAMPLES, seed=0)
    timing = dict.fromkeys(("wall_seconds", "useful_time_share", "named_share"), 1.0)
    competitions = compare_competitions(table, 10, seed=0)
    told = headline(measures, competitions, synthetic_turns(0), timing | {"peak_memory_gib": 1.0})
    gain = corrected_gain(study)
    assert gain["p_adjusted"] == pytest.approx(told["gain_p_value"], abs=1e-9)
    assert gain["value"] == pytest.approx(told["gain"], abs=1e-9)
    assert shows_improvement(gain) == told["improvement_shown"] == shown


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
    quotes = ("in {} % of the 400", "it does so in\n{} % of them", "yardsticks) in {} %")
    for null, quote in zip(NULLS, quotes, strict=True):
        claims = table[table["measure"] == null]["share"] * 100
        assert len(claims) == 10 and claims.max() < 5
        assert quote.format(f"{claims.min():g} to {claims.max():g}") in text


def test_the_figure_of_coverage_is_that_of_its_table(tmp_path: Path) -> None:
    coverage_figure.draw(TABLE, tmp_path / "coverage.svg")
    assert (tmp_path / "coverage.svg").read_bytes() == coverage_figure.FIGURE.read_bytes()
    assert f"]({coverage_figure.FIGURE.name})" in TABLE.with_name("README.md").read_text()
