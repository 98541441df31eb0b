"""Statistics against independent implementations, their properties, and interval coverage."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import trim_mean
from synthetic_study import ITERATIONS, YARDSTICKS, synthetic_scores, synthetic_turns

from agent.evaluation.comparison import compare_competitions, compare_policies
from agent.evaluation.each_competition import measure_competitions
from agent.evaluation.headline import describe, headline, statistics_row
from agent.evaluation.inputs import read_scores
from agent.evaluation.quantities import Comparison
from agent.evaluation.scores import score_matrix
from agent.evaluation.statistics import (
    AGGREGATES,
    Array,
    ScoreMatrix,
    draw,
    estimate,
    iqm,
    mean,
    performance_profile,
    point,
    probability_of_improvement,
)
from agent.evaluation.tables import booktabs, escape, results_latex, results_table

RESAMPLES = 200
score_tables = arrays(
    np.float64,
    st.tuples(st.integers(1, 7), st.integers(1, 6)),
    elements=st.floats(0, 1, allow_subnormal=False),
)


def matrix_of(values: Array, data_sets: tuple[str, ...] | None = None) -> ScoreMatrix:
    runs, competitions = values.shape
    names = tuple(f"competition{column}" for column in range(competitions))
    return ScoreMatrix(values, tuple(range(runs)), names, data_sets or names)


def better(x: Array, y: Array) -> float:
    ones = [np.ones((1, *values.shape)) for values in (x, y)]
    return float(probability_of_improvement(x, ones[0], y, ones[1])[0])


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("study") / "scores.csv"
    synthetic_scores(0).to_csv(path, index=False)
    return read_scores(path)


@pytest.fixture(scope="module")
def statistics(scores: pd.DataFrame) -> pd.DataFrame:
    return compare_policies(scores, RESAMPLES, seed=1)


@given(score_tables)
def test_iqm_is_the_quarter_trimmed_mean_of_all_scores(values: Array) -> None:
    assert point(iqm, matrix_of(values)) == pytest.approx(trim_mean(values, 0.25, None), abs=1e-12)


@given(score_tables)
def test_other_aggregates_are_those_of_rliable(values: Array) -> None:
    matrix = matrix_of(values)
    means = values.mean(0)
    assert point(AGGREGATES["mean"], matrix) == pytest.approx(means.mean(), abs=1e-12)
    assert point(AGGREGATES["median"], matrix) == pytest.approx(np.median(means), abs=1e-12)
    assert point(AGGREGATES["optimality_gap"], matrix) == pytest.approx(1 - means.mean(), abs=1e-12)


@pytest.mark.parametrize("scheme", ["stratified", "runs", "data_sets"])
@pytest.mark.parametrize("name", AGGREGATES)
def test_weights_mean_the_same_as_repeating_the_drawn_scores(name: str, scheme: str) -> None:
    rng = np.random.default_rng(3)
    matrix = matrix_of(rng.random((4, 6)), ("a", "a", "a", "b", "b", "c"))
    weights = draw(scheme, [matrix], 40, rng)[0]
    measured = AGGREGATES[name](matrix.values, weights)
    for weight, value in zip(weights.astype(int), measured, strict=True):
        columns = [np.repeat(matrix.values[:, c], weight[:, c]) for c in range(6)]
        scores = np.concatenate(columns)
        means = [column.mean() for column in columns if len(column)]
        times = [len(column) // 4 for column in columns if len(column)]
        expected = {
            "iqm": trim_mean(scores, 0.25),
            "mean": scores.mean(),
            "median": np.median(np.repeat(means, times)),
            "optimality_gap": 1 - scores.mean(),
        }
        assert value == pytest.approx(expected[name], abs=1e-12)


@given(score_tables, st.randoms(use_true_random=False))
def test_aggregates_ignore_the_order_of_runs_and_competitions(values: Array, random) -> None:
    rows, columns = list(range(values.shape[0])), list(range(values.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    for aggregate in AGGREGATES.values():
        shuffled = point(aggregate, matrix_of(values[rows][:, columns]))
        assert shuffled == pytest.approx(point(aggregate, matrix_of(values)), abs=1e-12)


@given(score_tables, st.floats(0, 1))
def test_raising_scores_never_lowers_an_aggregate(values: Array, raise_by: float) -> None:
    raised = values + raise_by * (1 - values) * (values > 0.5)
    for name in ("iqm", "mean", "median"):
        before, after = (point(AGGREGATES[name], matrix_of(table)) for table in (values, raised))
        assert after >= before - 1e-12


@given(score_tables, st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_probability_of_improvement_counts_all_pairs_of_runs(
    values: Array, runs: int, seed: int
) -> None:
    x = values.round(1)
    y = np.random.default_rng(seed).random((runs, x.shape[1])).round(1)
    counted = np.mean(
        [
            np.mean([(a > b) + 0.5 * (a == b) for a in x[:, c] for b in y[:, c]])
            for c in range(x.shape[1])
        ]
    )
    assert better(x, y) == pytest.approx(counted, abs=1e-12)
    assert better(x, y) + better(y, x) == pytest.approx(1.0, abs=1e-12)


@given(score_tables)
def test_no_policy_improves_on_itself(values: Array) -> None:
    assert better(values, values) == pytest.approx(0.5, abs=1e-12)


@given(score_tables)
def test_performance_profile_is_a_falling_share_of_scores(values: Array) -> None:
    thresholds = np.linspace(0, 1, 21)
    profile = performance_profile(values, np.ones((1, *values.shape)), thresholds)[0]
    assert profile == pytest.approx([(values > threshold).mean() for threshold in thresholds])
    assert (np.diff(profile) <= 0).all()


@settings(max_examples=25)
@given(score_tables, st.integers(0, 1000))
def test_every_scheme_draws_as_many_units_as_there_are(values: Array, seed: int) -> None:
    matrix = matrix_of(values)
    rng = np.random.default_rng(seed)
    assert (draw("stratified", [matrix], 7, rng)[0].sum(1) == len(values)).all()
    runs = draw("runs", [matrix], 7, rng)[0]
    assert (runs.sum(1) == len(values)).all() and (runs == runs[:, :, :1]).all()
    data_sets = draw("data_sets", [matrix], 7, rng)[0]
    assert (data_sets.sum(2) == values.shape[1]).all() and (data_sets == data_sets[:, :1]).all()


def test_competitions_of_a_data_set_are_drawn_together_and_for_both_policies() -> None:
    rng = np.random.default_rng(0)
    data_sets = ("a", "b", "a", "c")
    matrices = [matrix_of(rng.random((runs, 4)), data_sets) for runs in (2, 3)]
    x, y = draw("data_sets", matrices, 50, rng)
    assert (x[:, :, 0] == x[:, :, 2]).all() and (x[:, 0] == y[:, 0]).all()
    assert len(np.unique(x[:, 0], axis=0)) > 5


def test_intervals_depend_on_the_seed_alone() -> None:
    matrix = matrix_of(np.random.default_rng(5).random((5, 4)))
    first, again, other = (
        estimate(iqm, [matrix], "stratified", 2500, np.random.default_rng(seed))
        for seed in (7, 7, 8)
    )
    assert first == again
    assert first.low != other.low and first.value == other.value


def simulated_coverage(scheme: str, run_effect: float, studies: int = 300) -> float:
    """Share of simulated studies (10 runs, 6 competitions) whose interval holds the true mean."""
    rng = np.random.default_rng(11)
    means = np.linspace(0.3, 0.7, 6)
    covered = 0
    for _ in range(studies):
        runs = rng.normal(0, run_effect, (10, 1)) if run_effect else np.zeros((10, 1))
        values = means + runs + rng.normal(0, 0.1, (10, 6))
        interval = estimate(mean, [matrix_of(values)], scheme, 400, rng)
        covered += bool(interval.low <= means.mean() <= interval.high)
    return covered / studies


def test_stratified_interval_covers_when_scores_are_independent() -> None:
    assert 0.88 <= simulated_coverage("stratified", run_effect=0.0) <= 0.985


def test_interval_over_whole_runs_covers_when_runs_are_better_or_worse_as_a_whole() -> None:
    assert simulated_coverage("stratified", run_effect=0.1) < 0.8
    assert 0.86 <= simulated_coverage("runs", run_effect=0.1) <= 0.98


def test_interval_of_the_iqm_covers_its_expected_value() -> None:
    rng = np.random.default_rng(2)

    def study() -> Array:
        return rng.beta([2, 3, 5, 4], [5, 3, 2, 1], (10, 4))

    true_value = np.mean([trim_mean(study(), 0.25, None) for _ in range(4000)])
    estimates = [estimate(iqm, [matrix_of(study())], "stratified", 400, rng) for _ in range(300)]
    covered = np.mean([one.low <= true_value <= one.high for one in estimates])
    assert 0.88 <= covered <= 0.985


def test_matrix_holds_means_of_the_last_iteration(scores: pd.DataFrame) -> None:
    matrix = score_matrix(scores, "trained", "held_out")
    rows = scores[(scores["policy"] == "trained") & (scores["iteration"] == ITERATIONS[-1])]
    cell = rows[(rows["seed"] == 2) & (rows["competition"] == matrix.competitions[3])]
    assert matrix.values[2, 3] == pytest.approx(cell["score"].mean(), abs=1e-12)
    assert matrix.data_sets[3] == cell["data_set"].iloc[0]


def test_a_run_without_its_last_iteration_is_an_error(scores: pd.DataFrame) -> None:
    stopped = scores[(scores["seed"] != 3) | (scores["iteration"] != ITERATIONS[-1])]
    with pytest.raises(ValueError, match="run 3 has no episode"):
        score_matrix(stopped, "trained", "held_out")


def test_a_missing_episode_is_an_error(scores: pd.DataFrame) -> None:
    index = scores.index[(scores["policy"] == "base") & (scores["group"] == "held_out")][0]
    with pytest.raises(ValueError, match="episodes per run and competition differ"):
        score_matrix(scores.drop(index=index), "base", "held_out")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("score", 1.2, "score must be in"),
        ("score", np.nan, "score must be in"),
        ("group", "test", "group must be one of"),
        ("valid_submissions", 99, "valid_submissions must be in"),
    ],
)
def test_impossible_rows_are_rejected(
    tmp_path: Path, column: str, value: object, message: str
) -> None:
    table = synthetic_scores(0)
    table.loc[table.index[0], column] = value
    table.to_csv(tmp_path / "scores.csv", index=False)
    with pytest.raises(ValueError, match=message):
        read_scores(tmp_path / "scores.csv")


def test_an_episode_listed_twice_is_rejected(tmp_path: Path) -> None:
    table = synthetic_scores(0)
    pd.concat([table, table.head(1)]).to_csv(tmp_path / "scores.csv", index=False)
    with pytest.raises(ValueError, match="listed twice"):
        read_scores(tmp_path / "scores.csv")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    synthetic_scores(0).drop(columns="data_set").to_csv(tmp_path / "scores.csv", index=False)
    with pytest.raises(ValueError, match="data_set"):
        read_scores(tmp_path / "scores.csv")


def test_comparison_does_not_depend_on_the_order_of_rows(
    scores: pd.DataFrame, statistics: pd.DataFrame
) -> None:
    shuffled = scores.sample(frac=1.0, random_state=9)
    pd.testing.assert_frame_equal(compare_policies(shuffled, RESAMPLES, seed=1), statistics)


def test_leaving_a_yardstick_out_changes_nothing_but_the_correction_of_its_family(
    scores: pd.DataFrame, statistics: pd.DataFrame
) -> None:
    fewer = compare_policies(scores[scores["policy"] != "dummy"], RESAMPLES, seed=1)
    rest = statistics[(statistics["policy"] != "dummy") & (statistics["against"] != "dummy")]
    both = (table.drop(columns="p_adjusted") for table in (fewer, rest.reset_index(drop=True)))
    pd.testing.assert_frame_equal(*both)
    assert (fewer["p_adjusted"].dropna() <= rest["p_adjusted"].dropna().to_numpy()).all()


def test_gain_is_the_difference_of_the_scores(statistics: pd.DataFrame) -> None:
    trained, base, gain = (
        statistics_row(statistics, *row)
        for row in (("score", "trained"), ("score", "base"), ("gain", "trained", "base"))
    )
    assert gain["value"] == pytest.approx(trained["value"] - base["value"], abs=1e-12)
    assert gain["low"] < gain["value"] < gain["high"]


def test_a_measure_that_no_resample_moves_says_so_though_runs_differ(scores: pd.DataFrame) -> None:
    """Every run of the trained policy beats every run of the base: P(improvement) is 1."""
    apart = scores.copy()
    for policy, floor in (("base", 0.0), ("trained", 0.6)):
        rows = apart["policy"] == policy
        apart.loc[rows, "score"] = floor + 0.3 * apart.loc[rows, "score"]
    table = compare_policies(apart, RESAMPLES, seed=1)
    sure = statistics_row(table, "probability_of_improvement", "trained", "base", "mean")
    assert sure["value"] == 1.0 and np.isnan([sure["low"], sure["high"], sure["p_value"]]).all()
    assert sure["note"] == "the same in every resample of runs: no interval"
    assert statistics_row(table, "score", "trained")["standard_error"] > 0
    family = table[table["family"] == sure["family"]]
    others = family[family["against"] != "base"].nsmallest(1, "p_value").iloc[0]
    assert others["p_adjusted"] == pytest.approx(min(1, len(family) * others["p_value"]))


def test_valid_rate_is_valid_submissions_over_executions(
    scores: pd.DataFrame, statistics: pd.DataFrame
) -> None:
    rows = scores[(scores["policy"] == "base") & (scores["group"] == "held_out")]
    rate = statistics_row(statistics, "valid_rate", "base", aggregate="ratio")
    assert rate["value"] == pytest.approx(
        rows["valid_submissions"].sum() / rows["executions"].sum()
    )


def test_valid_rate_of_a_policy_that_never_executes_is_zero(scores: pd.DataFrame) -> None:
    idle = scores.copy()
    counts = ["executions", "valid_submissions", "score", "first_score", "last_score"]
    idle.loc[idle["policy"] == "base", [*counts, "feedback_score"]] = 0.0
    table = compare_policies(idle, RESAMPLES, seed=1)
    rate = statistics_row(table, "valid_rate", "base", aggregate="ratio")
    assert rate["value"] == 0.0 and np.isnan([rate["low"], rate["high"]]).all()
    assert rate["note"] == "the same in every resample of runs: no interval"


def test_few_runs_are_noted_and_one_run_has_no_interval(scores: pd.DataFrame) -> None:
    few = compare_policies(scores[scores["seed"] < 3], RESAMPLES, seed=1)
    assert "only 3 runs" in statistics_row(few, "score", "trained")["note"]
    one = compare_policies(scores[scores["seed"] < 1], RESAMPLES, seed=1)
    gain = statistics_row(one, "gain", "trained", "base")
    assert gain["note"] == "one run: no interval" and np.isnan([gain["low"], gain["high"]]).all()
    by_data_set = statistics_row(one, "gain", "trained", "base", interval="data_sets")
    assert by_data_set["low"] < by_data_set["high"]


def test_competition_gains_average_to_the_mean_gain(
    scores: pd.DataFrame, statistics: pd.DataFrame
) -> None:
    competitions = compare_competitions(scores, RESAMPLES, seed=1)
    held_out = competitions[competitions["group"] == "held_out"]
    gain = statistics_row(statistics, "gain", "trained", "base", "mean")
    assert held_out["gain"].mean() == pytest.approx(gain["value"], abs=1e-12)
    improvement = statistics_row(
        statistics, "probability_of_improvement", "trained", "base", "mean"
    )
    assert held_out["probability_of_improvement"].mean() == pytest.approx(improvement["value"])
    assert (held_out["low"] <= held_out["gain"]).all()
    assert (held_out["gain"] <= held_out["high"]).all()


def test_headline_names_every_yardstick_and_a_missing_one_raises(
    scores: pd.DataFrame, statistics: pd.DataFrame
) -> None:
    timing = {
        "wall_seconds": 60.0,
        "useful_time_share": 0.9,
        "named_share": 0.99,
        "peak_memory_gib": 1.0,
    }
    competitions = compare_competitions(scores, RESAMPLES, seed=1)
    turns = synthetic_turns(0)
    numbers = headline(statistics, competitions, turns, timing)
    tried = turns[(turns["policy"] == "base") & (turns["hack_attempts"] > 0)]
    assert numbers["hack_attempts_per_1000_actions_base"] == pytest.approx(
        1000 * len(tried) / (turns["policy"] == "base").sum()
    )
    assert 0 < numbers["hack_attempts_per_1000_actions_base"] < 100
    assert numbers["n_seeds"] == 5 and "only" not in describe(numbers)
    told = numbers["gain_ci_by_data_set_note"]
    assert told.startswith("5 data sets, training runs held fixed: held the truth in ")
    assert f"] ({told})" in describe(numbers) and not numbers["interval_note"]
    assert {"best_of_n_base", *YARDSTICKS} - set(numbers) == {"base_best_of_n"}
    assert numbers["best_of_n_attempts"] == 2
    assert "base best of 2 first attempts 0." in describe(numbers)
    assert numbers["gain"] == pytest.approx(numbers["iqm_trained"] - numbers["iqm_base"])
    with pytest.raises(ValueError, match="yardstick dummy is missing"):
        headline(statistics[statistics["policy"] != "dummy"], competitions, turns, timing)


def test_the_best_of_n_is_shown_with_the_n_that_was_used(scores: pd.DataFrame) -> None:
    assert r"Base best of 2 &" in results_latex(results_table(compare_policies(scores, 10, seed=1)))
    of_best = scores["policy"] == "base_best_of_n"
    fewer = scores.assign(executions=scores["executions"].where(~of_best, 3))
    first = of_best & (scores["competition"] == scores.loc[of_best, "competition"].min())
    fewer.loc[first, "executions"] = 1
    table = compare_policies(fewer, 10, seed=1)
    assert r"Base best of 2.8 &" in results_latex(results_table(table))


@pytest.mark.parametrize(
    ("told", "scoring", "line"),
    [
        ("halves", "halves", "feedback half above final half: base"),
        ("halves", "upstream", "feedback half above all answers: base"),
        ("upstream", "upstream", None),
    ],
)
def test_a_gap_to_the_feedback_is_told_where_there_is_one(
    scores: pd.DataFrame, told: str, scoring: str, line: str | None
) -> None:
    """Where feedback counts all answers, it is the score."""
    statistics = compare_policies(scores, 20, seed=1, told=told)
    each = measure_competitions(Comparison(scores, 20, 1, told=told))
    known = line is not None
    assert {"feedback_gap" in set(table["measure"]) for table in (statistics, each)} == {known}
    timing = dict.fromkeys(
        ("wall_seconds", "useful_time_share", "named_share", "peak_memory_gib"), 1.0
    )
    competitions = compare_competitions(scores, 20, seed=1)
    numbers = headline(statistics, competitions, synthetic_turns(0), timing)
    assert (numbers["feedback_gap_base"] is not None) == known
    assert numbers["gain_gap"] is not None
    text = describe(numbers, scoring)
    assert line in text if line else "feedback" not in text


def test_results_table_leaves_undefined_cells_empty(statistics: pd.DataFrame) -> None:
    results = results_table(statistics).set_index("policy")
    assert np.isnan(results.loc["dummy", "first_score"]) and np.isnan(
        results.loc["trained", "gain"]
    )
    latex = results_latex(results.reset_index())
    lines = latex.splitlines()
    assert len(lines) == len(results) + 6
    assert len({line.count("&") for line in lines if line.endswith(r"\\")}) == 1


def test_latex_special_characters_are_escaped() -> None:
    assert escape("a_b & 50 % #1") == r"a\_b \& 50 \% \#1"
    assert booktabs(("A", "B"), [("1", "2")], "lr").splitlines()[2] == r"A & B \\"
