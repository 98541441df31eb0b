"""Intervals for new training runs, against Welch's formula, and the tables made from them."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_ind
from statsmodels.stats.multitest import multipletests
from synthetic_study import synthetic_scores

from agent.evaluation.clustered import clustered_estimate
from agent.evaluation.comparison import compare_competitions, compare_policies
from agent.evaluation.each_competition import measure_competitions
from agent.evaluation.headline import statistics_row
from agent.evaluation.inputs import read_scores
from agent.evaluation.multiplicity import adjust
from agent.evaluation.quantities import Comparison
from agent.evaluation.statistics import (
    PAIRED_DIFFERENCES,
    Array,
    ScoreMatrix,
    difference,
    iqm,
    mean,
    probability_of_improvement,
)
from agent.evaluation.tables import competitions_latex, results_latex, results_table

RESAMPLES = 2000


def matrix_of(values: Array) -> ScoreMatrix:
    names = tuple(f"competition{column}" for column in range(values.shape[1]))
    return ScoreMatrix(values, tuple(range(len(values))), names, names)


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("study") / "scores.csv"
    synthetic_scores(0).to_csv(path, index=False)
    return read_scores(path)


@pytest.fixture(scope="module")
def statistics(scores: pd.DataFrame) -> pd.DataFrame:
    return compare_policies(scores, RESAMPLES, seed=1)


@settings(max_examples=30)
@given(st.integers(2, 7), st.integers(2, 7), st.integers(0, 2**32 - 1))
def test_of_means_it_is_welchs_interval_and_test(runs: int, others: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.random((runs, 6)), rng.random((others, 6))
    found = clustered_estimate(difference(mean), [matrix_of(x), matrix_of(y)], RESAMPLES, rng)
    welch = ttest_ind(x.mean(1), y.mean(1), equal_var=False)
    ends = welch.confidence_interval()
    assert [found.low, found.high] == pytest.approx([ends.low, ends.high], abs=1e-12)
    assert found.degrees_of_freedom == pytest.approx(welch.df, abs=1e-9)
    assert found.p_value == pytest.approx(welch.pvalue, abs=1e-12)


def test_of_one_policy_it_is_students_interval() -> None:
    values = np.random.default_rng(1).random((4, 5))
    found = clustered_estimate(mean, [matrix_of(values)], RESAMPLES, np.random.default_rng(0))
    ends = ttest_1samp(values.mean(1), 0.0).confidence_interval()
    assert [found.low, found.high] == pytest.approx([ends.low, ends.high], abs=1e-12)


def test_matrices_of_one_player_are_drawn_together() -> None:
    train, new = np.random.default_rng(2).random((2, 5, 6))
    pair = [matrix_of(train), matrix_of(new)]
    rng = np.random.default_rng(0)
    together = clustered_estimate(difference(mean), pair, RESAMPLES, rng, ("one", "one"))
    ends = ttest_1samp(train.mean(1) - new.mean(1), 0.0).confidence_interval()
    assert [together.low, together.high] == pytest.approx([ends.low, ends.high], abs=1e-12)
    apart = clustered_estimate(difference(mean), pair, RESAMPLES, rng)
    assert apart.degrees_of_freedom > together.degrees_of_freedom == pytest.approx(4)


@pytest.mark.parametrize("measure", [difference(iqm), probability_of_improvement])
def test_few_runs_are_drawn_in_every_possible_way(measure) -> None:
    """The variance over all 27 draws of three runs, written out one by one."""
    x, y = np.random.default_rng(3).random((2, 3, 5))
    found = clustered_estimate(
        measure, [matrix_of(x), matrix_of(y)], RESAMPLES, np.random.default_rng(0)
    )
    ones = np.ones((1, 3, 5))
    parts = []
    for moved in range(2):
        pairs = [[x, y] for _ in range(27)]
        for pair, rows in zip(pairs, product(range(3), repeat=3), strict=True):
            pair[moved] = pair[moved][list(rows)]
        values = [measure(one, ones, other, ones)[0] for one, other in pairs]
        parts.append(np.var(values) * 3 / 2)
    assert found.standard_error == pytest.approx(np.sqrt(sum(parts)), abs=1e-12)
    welch = sum(parts) ** 2 / sum(part**2 / 2 for part in parts)
    assert found.degrees_of_freedom == pytest.approx(welch, abs=1e-9)


def test_many_runs_are_drawn_at_random_and_the_seed_decides() -> None:
    values = np.random.default_rng(4).random((12, 3))
    exact = ttest_1samp(values.mean(1), 0.0).confidence_interval()
    first, again, other = (
        clustered_estimate(mean, [matrix_of(values)], RESAMPLES, np.random.default_rng(seed))
        for seed in (7, 7, 8)
    )
    assert first == again and first.low != other.low
    assert [first.low, first.high] == pytest.approx([exact.low, exact.high], abs=0.01)


def test_of_a_share_it_is_symmetric_in_log_odds() -> None:
    x, y = np.random.default_rng(5).beta(5, 2, (2, 4, 6))
    pair, rng = [matrix_of(x), matrix_of(y**3)], np.random.default_rng(0)
    plain, share = (
        clustered_estimate(
            probability_of_improvement, pair, RESAMPLES, rng, null=0.5, of_share=of_share
        )
        for of_share in (False, True)
    )
    assert plain.high > 1.0 > share.high and share.value == plain.value
    odds = [np.log(end / (1 - end)) for end in (share.low, share.value, share.high)]
    assert odds[1] == pytest.approx((odds[0] + odds[2]) / 2, abs=1e-12)
    slope = share.value * (1 - share.value)  # the delta method
    assert (odds[2] - odds[0]) * slope == pytest.approx(plain.high - plain.low, abs=1e-12)
    assert (share.p_value < 0.05) == (share.low > 0.5)


def test_without_a_spread_of_runs_there_is_no_interval() -> None:
    for values in (np.full((3, 4), 0.25), np.random.default_rng(0).random((1, 4))):
        found = clustered_estimate(mean, [matrix_of(values)], RESAMPLES, np.random.default_rng(0))
        assert found.value == pytest.approx(values.mean(), abs=1e-12)
        assert np.isnan([found.low, found.high, found.p_value]).all()


@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_paired_differences_are_those_of_each_competition(
    runs: int, columns: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.random((runs, columns)), rng.random((3, columns))
    gains = np.sort(x.mean(0) - y.mean(0))
    cut = columns // 4
    expected = {
        "iqm": gains[cut : columns - cut].mean(),
        "mean": gains.mean(),
        "median": np.median(gains),
    }
    ones = [np.ones((1, *values.shape)) for values in (x, y)]
    for name, paired in PAIRED_DIFFERENCES.items():
        assert paired(x, ones[0], y, ones[1])[0] == pytest.approx(expected[name], abs=1e-12)


def test_holms_correction_is_by_family_and_counts_what_has_no_p_value() -> None:
    p_values = [0.01, 0.04, np.nan, 0.02, 0.5]
    table = pd.DataFrame({"p_value": p_values, "family": ["a", "a", "a", "b", ""]})
    adjusted = adjust(table)["p_adjusted"].tolist()
    assert adjusted[:2] == pytest.approx(multipletests([0.01, 0.04, 1.0], method="holm")[1][:2])
    assert adjusted[:2] == pytest.approx([0.03, 0.08])
    assert adjusted[3] == 0.02 and np.isnan([adjusted[2], adjusted[4]]).all()


def test_each_comparison_of_the_trained_policy_is_in_a_named_family(
    statistics: pd.DataFrame,
) -> None:
    gain = statistics_row(statistics, "gain", "trained", "base")
    family = statistics[statistics["family"] == gain["family"]]
    others = statistics[(statistics["measure"] == "gain") & (statistics["group"] == "held_out")]
    assert set(family["against"]) == set(others["against"]) and len(family) == 6
    assert "held_out" in gain["family"]
    assert (family["p_adjusted"].dropna() >= family["p_value"].dropna()).all()


def test_every_test_is_in_a_family_and_the_second_changes_nothing_in_the_first(
    scores: pd.DataFrame, statistics: pd.DataFrame
) -> None:
    tables = [
        statistics,
        measure_competitions(Comparison(scores, RESAMPLES, 1)),
        compare_competitions(scores, RESAMPLES, seed=1),
    ]
    for table in tables:
        tested = table[table["p_value"].notna()]
        assert tested["p_adjusted"].notna().all() and (tested["family"] != "").all()
    secondary = statistics[statistics["family"] == "secondary questions, held_out"]
    assert set(secondary["measure"]) == {
        *("first_attempt_gain", "later_attempts_gain", "feedback_gap"),
    }
    expected = multipletests(secondary["p_value"], method="holm")[1]
    assert secondary["p_adjusted"].to_numpy() == pytest.approx(expected, abs=1e-12)
    by_name = tables[1][tables[1]["measure"] == "feedback_gap"]
    assert set(by_name.groupby("group")["family"].nunique()) == {1}


def test_a_missing_run_is_named_and_nothing_stands_in_for_it(scores: pd.DataFrame) -> None:
    lost = scores[(scores["seed"] != 3) | (scores["policy"] != "trained")]
    table = compare_policies(lost, RESAMPLES, seed=1, planned=(0, 1, 2, 3, 4))
    trained, base = (statistics_row(table, "score", policy) for policy in ("trained", "base"))
    assert (trained["n_runs"], trained["n_missing_runs"]) == (4, 1)
    assert trained["missing_runs"] == "run 3" and "missing" not in trained["note"]
    assert (base["n_runs"], base["n_missing_runs"]) == (5, 0)
    at_end = lost[(lost["iteration"] == lost["iteration"].max()) & (lost["group"] == "held_out")]
    of_trained = at_end[at_end["policy"] == "trained"]["score"]
    average = statistics_row(table, "score", "trained", aggregate="mean")["value"]
    assert average == pytest.approx(of_trained.mean(), abs=1e-12)
    latex = results_latex(results_table(table))
    assert "4 of 5" in latex and "Missing: run 3 of trained." in latex
    by_name = compare_competitions(lost, RESAMPLES, seed=1, planned=(0, 1, 2, 3, 4))
    assert set(by_name["n_missing_runs_trained"]) == {1} == set(by_name["n_missing_runs_base"] + 1)
    assert set(by_name["missing_runs_trained"]) == {"run 3"}
    assert "Missing: run 3 of trained." in competitions_latex(by_name)


def test_generalisation_gaps_are_differences_of_the_groups(statistics: pd.DataFrame) -> None:
    def score(agent: str, group: str) -> float:
        return statistics_row(statistics, "score", agent, group=group)["value"]

    gaps = {}
    for agent in ("base", "trained"):
        row = statistics_row(statistics, "generalisation_gap", agent, "held_out", group="train")
        gaps[agent] = row["value"]
        assert row["value"] == pytest.approx(score(agent, "train") - score(agent, "held_out"))
    both = statistics_row(statistics, "gain_gap", "trained", "held_out", group="train")
    assert both["value"] == pytest.approx(gaps["trained"] - gaps["base"], abs=1e-12)
    assert both["low"] < both["value"] < both["high"]


def test_a_performance_profile_counts_scores_above_its_threshold(
    scores: pd.DataFrame, statistics: pd.DataFrame
) -> None:
    rows = scores[(scores["policy"] == "base") & (scores["group"] == "held_out")]
    means = rows.groupby(["seed", "competition"])["score"].mean()
    for threshold in (0.3, 0.6):
        row = statistics_row(
            statistics, "performance_profile", "base", aggregate=f"above_{threshold}"
        )
        assert row["value"] == pytest.approx((means > threshold).mean(), abs=1e-12)


def test_each_competition_is_measured_over_its_episodes(scores: pd.DataFrame) -> None:
    table = measure_competitions(Comparison(scores, RESAMPLES, 1))
    by_name = compare_competitions(scores, RESAMPLES, seed=1).set_index("competition")
    name = by_name.index[by_name["group"] == "held_out"][0]
    own = scores[(scores["competition"] == name) & (scores["group"] == "held_out")]
    base = own[own["policy"] == "base"]["score"].to_numpy()
    last = own[(own["policy"] == "trained") & (own["iteration"] == own["iteration"].max())]
    trained = last["score"].to_numpy()
    rows = table[table["competition"] == name].set_index(["measure", "policy", "aggregate"])
    assert rows.loc[("score", "base", "median"), "value"] == pytest.approx(np.median(base))
    assert rows.loc[("gain", "trained", "mean"), "value"] == pytest.approx(
        by_name.loc[name, "gain"], abs=1e-12
    )
    pairs = np.mean([(a > b) + 0.5 * (a == b) for a in trained for b in base])
    better = rows.loc[("probability_of_improvement", "trained", "episodes")]
    assert better["value"] == pytest.approx(pairs, abs=1e-12)
    assert better["n_episodes"] == len(base) // 5 and better["n_runs"] == 5
    assert set(table["competition"]) == set(by_name.index)
    played = own[own["policy"] == "base"]
    rate = rows.loc[("valid_rate", "base", "ratio"), "value"]
    expected = played["valid_submissions"].sum() / played["executions"].sum()
    assert rate == pytest.approx(expected, abs=1e-12)


def test_point_estimates_of_a_clustered_row_are_those_of_the_sample(
    scores: pd.DataFrame, statistics: pd.DataFrame
) -> None:
    rows = statistics[statistics["measure"] == "score"]
    wide = rows.pivot(index=["group", "policy", "aggregate"], columns="interval", values="value")
    assert wide["clustered"].to_numpy() == pytest.approx(wide["stratified"].to_numpy(), abs=1e-12)
