"""The benchmark's measures against hand-computed cases, closed forms and independent fits."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from synthetic_study import DATA_SETS, YARDSTICKS, competitions, synthetic_scores

from agent.core.position import position_score
from agent.evaluation.benchmark_measures import (
    PUBLISHED_CATEGORIES,
    TAU_MAX,
    area_under_profile,
    human_rank,
    mean_percent,
    medal,
    medal_positions,
    performance_ratios,
    read_published,
    smallest_tau_max,
)
from agent.evaluation.benchmark_table import (
    benchmark_latex,
    benchmark_table,
    read_catalogue,
    study_means,
    with_medals,
)
from agent.evaluation.elo import (
    PRIOR,
    bradley_terry,
    draw_competitions,
    elo_ratings,
    with_interval,
)
from agent.evaluation.files import read_csv
from agent.evaluation.statistics import Array

PUBLISHED = ROOT / "config/mle_dojo/published.csv"
BOARD = np.array([0.9, 0.8, 0.8, 0.7])
NAN = np.nan
LOG2 = np.log10(2)
finite = st.floats(-1e6, 1e6)
score_tables = arrays(np.float64, st.tuples(st.integers(2, 5), st.integers(1, 8)), elements=finite)


def once(count: int) -> Array:
    return np.ones((1, count))


def ratings(scores: object, **options: object) -> Array:
    table = np.array(scores, dtype=float)
    names = tuple("abcdefgh"[: len(table)])
    return elo_ratings(table, once(table.shape[1]), names, **options)[0]


def area(scores: object, higher: bool = True, penalty: float | None = None, **tau: float) -> Array:
    table = np.array(scores, dtype=float)
    ratios = performance_ratios(table, [higher] * table.shape[1], penalty)
    return area_under_profile(ratios, once(table.shape[1]), **tau)[0]


# HumanRank


@pytest.mark.parametrize(
    ("score", "rank"), [(0.95, 1), (0.9, 1), (0.8, 0.75), (0.75, 0.25), (0.7, 0.25), (0.6, 0)]
)
def test_human_rank_is_the_share_of_entries_not_strictly_better(score: float, rank: float) -> None:
    assert human_rank(score, {"private": BOARD}, True) == {"private": rank, "average": rank}
    assert human_rank(-score, {"private": -BOARD}, False)["average"] == rank


def test_human_rank_averages_the_two_boards_whatever_their_sizes() -> None:
    boards = {"private": BOARD, "public": np.array([0.85, 0.6])}
    assert human_rank(0.8, boards, True) == {"private": 0.75, "public": 0.5, "average": 0.625}


@given(arrays(np.float64, st.integers(1, 9), elements=finite), finite, st.booleans())
def test_human_rank_is_the_rank_that_episodes_are_rewarded_with(
    board: Array, score: float, higher: bool
) -> None:
    rank = human_rank(score, {"private": board}, higher)["average"]
    assert rank == pytest.approx(position_score(score, board, higher))
    position = 1 + np.sum(board > score if higher else board < score)
    assert rank - 1 / len(board) == pytest.approx(1 - position / len(board))  # as printed


@pytest.mark.parametrize("score", [NAN, np.inf])
def test_a_metric_value_that_is_not_finite_has_no_rank(score: float) -> None:
    with pytest.raises(ValueError, match="cannot be ranked"):
        human_rank(score, {"private": BOARD}, True)


def test_human_rank_of_a_category_is_the_mean_over_competitions_in_percent() -> None:
    positions = np.array([[0.5, 0.25, 0.75], [1.0, NAN, 0.0]])
    rank, missing = mean_percent(positions, once(3))[0]
    assert rank == pytest.approx(50) and np.isnan(missing)
    assert mean_percent(positions[:1], np.array([[0, 2, 1.0]]))[0, 0] == pytest.approx(125 / 3)


# Area under the performance profile


def test_the_area_of_two_policies_by_hand() -> None:
    # Ratios: a 1, 1; b 2, 1. The profile of b is 1/2 up to log10(2) and 1 from there to 2.
    assert area([[1, 0.5], [0.5, 0.5]]) == pytest.approx([2, 2 - LOG2 / 2])
    # Lower is better: a 3, 1; b 1, 10.
    assert area([[6, 1], [2, 10]], False) == pytest.approx([2 - np.log10(3) / 2, 1.5])


@given(arrays(np.float64, (3, 5), elements=st.floats(0.01, 1)), st.booleans())
def test_the_area_is_the_integral_of_the_counted_profile(scores: Array, higher: bool) -> None:
    ratios = performance_ratios(scores, [higher] * 5)
    taus = (np.arange(20000) + 0.5) * TAU_MAX / 20000
    profile = (np.log10(ratios)[:, :, None] <= taus).mean(1)
    expected = profile.mean(1) * TAU_MAX
    assert area_under_profile(ratios, once(5))[0] == pytest.approx(expected, abs=2e-4)


def test_the_papers_range_shifts_all_areas_by_one_constant_if_nothing_is_missing() -> None:
    scores = [[1, 0.5, 0.2], [0.5, 0.5, 0.4], [0.1, 0.3, 0.4]]
    smallest = smallest_tau_max(performance_ratios(np.array(scores), [True] * 3))
    assert smallest == pytest.approx(1.0)
    assert area(scores) - area(scores, tau_max=smallest) == pytest.approx(np.full(3, 1.0))


def test_a_zero_is_as_bad_as_the_bound_and_the_best_zero_is_the_best() -> None:
    assert area([[0.5], [0]]) == pytest.approx([2, 0])
    assert area([[0.5], [0.001]]) == pytest.approx([2, 0])  # a ratio of 500 is bounded by 100
    assert area([[0.5], [-3]]) == pytest.approx([2, 0])
    assert area([[0], [0.1]], False) == pytest.approx([2, 0])
    assert area([[0], [0]]) == pytest.approx([2, 2])


@pytest.mark.parametrize(("score", "higher"), [(-1.0, True), (-1.0, False), (np.inf, False)])
def test_scores_without_ratios_raise(score: float, higher: bool) -> None:
    with pytest.raises(ValueError, match="no ratios"):
        performance_ratios(np.array([[score], [-2.0 if higher else 1.0]]), [higher])


def test_a_missing_score_was_never_solved_or_is_penalised_as_in_the_paper() -> None:
    scores = [[1, 1, NAN], [0.5, NAN, NAN]]
    assert performance_ratios(np.array(scores), [True] * 3).tolist() == [
        [1, 1, np.inf],
        [2, np.inf, np.inf],
    ]
    assert area(scores) == pytest.approx([4 / 3, (2 - LOG2) / 3])
    # Penalised: twice the worst ratio of the competition, or the bound where nobody solved it.
    assert area(scores, penalty=1.0) == pytest.approx([4 / 3, (4 - 2 * LOG2) / 3])


# Medals


@pytest.mark.parametrize(
    ("teams", "gold", "silver", "bronze"),
    [
        (1, 1, 1, 1),
        (9, 1, 1, 3),
        (99, 9, 19, 39),
        (100, 10, 20, 40),
        (249, 10, 49, 99),
        (250, 10, 50, 100),
        (999, 11, 50, 100),
        (1000, 12, 50, 100),
        (4571, 19, 228, 457),
    ],
)
def test_medal_positions_of_the_table(teams: int, gold: int, silver: int, bronze: int) -> None:
    assert medal_positions(teams) == {"gold": gold, "silver": silver, "bronze": bronze}


@pytest.mark.parametrize(
    ("position", "won"),
    [(10, "gold"), (11, "silver"), (20, "silver"), (40, "bronze"), (41, None)],
)
@pytest.mark.parametrize("higher", [True, False])
def test_equalling_the_threshold_wins_the_medal(
    position: int, won: str | None, higher: bool
) -> None:
    board = np.random.default_rng(0).permutation(np.arange(1.0, 101.0))  # best is 1 if lower
    score = 101.0 - position if higher else float(position)
    assert medal(score, board, higher) == won
    assert medal(NAN, board, higher) is None
    with pytest.raises(ValueError, match="not finite"):
        medal(np.inf, board, higher)


def test_medals_are_counted_for_agents_on_kaggles_boards_alone() -> None:
    scores = synthetic_scores(0)
    name = scores.loc[scores["group"] == "held_out", "competition"].iloc[0]
    board = np.arange(100.0) / 10  # 0 to 9.9, and bronze for the first 40
    marked = with_medals(scores, {name: (board, True)})
    agents = scores["policy"].isin(["base", "trained"]) & (scores["competition"] == name)
    assert marked.loc[~agents, "medal"].isna().all()
    expected = (scores.loc[agents, "raw_score"] >= 6.0).astype(float)
    assert marked.loc[agents, "medal"].tolist() == expected.tolist()
    assert set(expected) == {0.0, 1.0} and scores.loc[agents, "raw_score"].isna().any()


def test_the_medal_rate_stands_beside_the_other_measures(catalogue: pd.DataFrame) -> None:
    scores = synthetic_scores(0)
    held_out = scores.loc[scores["group"] == "held_out", "competition"].unique()
    boards = {name: (np.arange(100.0) / 10, True) for name in held_out}
    published = read_published(PUBLISHED)
    table = benchmark_table(scores, catalogue, published, boards, 50, seed=3).set_index("policy")
    last = scores[(scores["policy"] == "base") & (scores["group"] == "held_out")]
    rate = (last["raw_score"] >= 6.0).groupby(last["competition"]).mean().mean()
    assert 0 < rate < 1
    assert table.loc["base", "Overall_medal_rate"] == pytest.approx(100 * rate)
    assert np.isnan(table.loc["dummy", "Overall_medal_rate"])  # its metric is not known
    assert table["Overall_medal_rate_low"]["base"] < 100 * rate
    assert "Medals" in benchmark_latex(table.reset_index())


# Elo


def test_two_policies_differ_by_the_log_odds_of_winning() -> None:
    # Seven wins, one tie, two losses: 7.5 to 2.5.
    scores = [[1] * 7 + [0] * 3, [0] * 7 + [0, 1, 1]]
    a, b = ratings(scores, prior=0)
    assert a - b == pytest.approx(400 * np.log10(3)) and a + b == pytest.approx(2000)
    a, b = ratings(scores)
    assert a - b == pytest.approx(400 * np.log10((7.5 + PRIOR) / (2.5 + PRIOR)))
    assert ratings(scores, anchor="b")[1] == pytest.approx(1000)


def test_ratings_of_five_policies_agree_with_two_other_fits() -> None:
    rng = np.random.default_rng(2)
    wins = rng.integers(1, 9, (5, 5)) + 0.5 * rng.integers(0, 2, (5, 5))
    np.fill_diagonal(wins, 0)
    fitted = bradley_terry(wins[None])[0]

    first, second = np.triu_indices(5, 1)
    design = np.zeros((len(first), 5))
    design[np.arange(len(first)), first], design[np.arange(len(first)), second] = 1, -1
    games = wins[first, second] + wins[second, first]
    shares = wins[first, second] / games
    family = sm.families.Binomial()
    logit = sm.GLM(shares, design[:, 1:], family=family, freq_weights=games).fit(tol=1e-12)
    expected = np.concatenate([[0], logit.params])
    assert fitted == pytest.approx(expected - expected.mean(), abs=1e-7)

    def loss(strength: Array) -> float:
        return float((wins * np.logaddexp(0, strength[None] - strength[:, None])).sum())

    other = minimize(loss, np.zeros(5), tol=1e-10).x
    assert fitted == pytest.approx(other - other.mean(), abs=1e-4)


def test_who_wins_everything_is_rated_by_the_prior_alone() -> None:
    scores = [[1] * 4, [0] * 4]
    a, b = ratings(scores)
    assert a - b == pytest.approx(400 * np.log10(4.5 / 0.5))
    with pytest.raises(ValueError, match=r"a won or lost everything.*prior above 0"):
        ratings(scores, prior=0)


def test_policies_that_never_met_are_compared_through_others_or_not_at_all() -> None:
    chain = [[1, NAN], [0, 1], [NAN, 0]]
    assert np.all(np.diff(ratings(chain)) < 0)
    with pytest.raises(ValueError, match="c and a share no competition"):
        ratings([[1, NAN], [0, NAN], [NAN, 1]])


@given(score_tables)
def test_elo_knows_only_the_order_of_scores(scores: Array) -> None:
    found = ratings(scores)
    assert found.mean() == pytest.approx(1000)
    ranks = np.array([np.unique(column, return_inverse=True)[1] for column in scores.T]).T
    assert ratings(ranks) == pytest.approx(found)
    assert ratings(scores[::-1]) == pytest.approx(found[::-1])
    assert 2000 - ratings(-scores) == pytest.approx(found)


def test_resampled_competitions_are_the_competitions_repeated() -> None:
    scores = np.array([[3.0, 1, 2, 5], [1, 2, 2, 4], [2, 3, 1, 4]])
    weights = np.array([[2.0, 0, 1, 1]])
    # The prior is of the pairs that met in the sample, as they did in what was drawn.
    drawn = elo_ratings(scores[:, [0, 0, 2, 3]], once(4), "abc")
    assert elo_ratings(scores, weights, "abc") == pytest.approx(drawn)


def test_intervals_depend_on_the_seed_alone_and_keep_data_sets_together() -> None:
    data_sets = ["x", "x", "y", "z"]
    scores = np.random.default_rng(5).random((3, 4))

    def interval(seed: int) -> Array:
        weights = draw_competitions(data_sets, 300, np.random.default_rng(seed))
        assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 1:].sum(1) == 3).all()
        return np.array(with_interval(lambda w: elo_ratings(scores, w, "abc"), weights))

    value, low, high = interval(0)
    assert np.array_equal(interval(0), [value, low, high])
    assert not np.array_equal(interval(1), [value, low, high])
    assert (low <= value).all() and (value <= high).all()


# Quoted figures and the table


def test_the_published_figures_are_complete_and_plausible() -> None:
    published = read_published(PUBLISHED)
    assert len(published) == 8 * (4 * 3 + 1) and published["model"].nunique() == 8
    elo = published[published["measure"] == "elo"].groupby("category")["value"].mean()
    assert set(elo.index) == set(PUBLISHED_CATEGORIES)
    assert elo.to_numpy() == pytest.approx(np.full(5, 1000), abs=0.5)  # so they are anchored
    areas = published.loc[published["measure"] == "aup", "value"]
    assert 1 < areas.max() <= TAU_MAX  # above 1, so integrated from 0; see area_under_profile


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("measure", "auc", "measure must be one of"),
        ("category", "Audio", "category must be one of"),
        ("value", NAN, "with a value"),
        ("source", "measured", 'begins with "quoted: "'),
        ("model", "gpt-4o", "only one of its model"),
    ],
)
def test_a_wrong_quotation_is_reported(
    tmp_path: Path, column: str, value: object, message: str
) -> None:
    table = pd.read_csv(PUBLISHED).astype(object)
    table.loc[0, column] = value
    table.to_csv(tmp_path / "published.csv", index=False)
    with pytest.raises(ValueError, match=message):
        read_published(tmp_path / "published.csv")


@pytest.fixture(scope="module")
def catalogue() -> pd.DataFrame:
    rows = [
        (name, "NLP" if task == "classification" else "Tabular")
        for group in DATA_SETS
        for name, _, task in competitions(group)
    ]
    return pd.DataFrame(rows, columns=["competition", "category"])


def test_measured_and_quoted_rows_stay_apart(catalogue: pd.DataFrame) -> None:
    scores = synthetic_scores(0)
    table = benchmark_table(scores, catalogue, read_published(PUBLISHED), {}, 100, seed=3)
    measured = table[table["source"] == "measured"].set_index("policy")
    quoted = table[table["source"] == "quoted"].set_index("policy")
    assert set(measured.index) == {"base", "trained", *YARDSTICKS} and len(quoted) == 8
    assert measured["Overall_elo"].mean() == pytest.approx(1000)
    assert measured["CV_elo"].isna().all() and quoted["Tabular_elo_low"].isna().all()
    assert quoted.loc["o3-mini", "CV_human_rank"] == 35.02
    assert measured["note"].str.contains("not on the scale of the quoted ones").all()
    assert measured["note"].str.contains("Tabular: 5 of 7 competitions").all()
    assert quoted["note"].str.startswith("quoted: arXiv 2505.07782").all()
    positions = study_means(scores)
    dummy = positions.values[positions.policies.index("dummy")]
    assert measured.loc["dummy", "Overall_human_rank"] == pytest.approx(100 * dummy.mean())
    for name in ("aup", "human_rank", "elo"):
        value, low, high = (measured[f"Overall_{name}{end}"] for end in ("", "_low", "_high"))
        assert ((low <= value) & (value <= high)).all()


def test_a_missing_run_is_shown_and_never_solved(catalogue: pd.DataFrame) -> None:
    scores = synthetic_scores(0)
    gone = (scores["policy"] == "trained") & (scores["competition"] == "heart_regre")
    published = read_published(PUBLISHED)
    whole = benchmark_table(scores, catalogue, published, {}, 50, seed=3).set_index("policy")
    one_run = gone & (scores["seed"] == 0)
    table = benchmark_table(scores[~one_run], catalogue, published, {}, 50, seed=3).set_index(
        "policy"
    )
    assert "Tabular: 5 of 7 competitions, 1 missing" in table.loc["trained", "note"]
    assert "missing" not in table.loc["base", "note"]
    assert np.isnan(table.loc["trained", "Tabular_human_rank"])
    assert table.loc["trained", "Tabular_aup"] < whole.loc["trained", "Tabular_aup"] - 0.2
    assert table.loc["trained", "NLP_aup"] == whole.loc["trained", "NLP_aup"]
    assert np.isfinite(table.loc["trained", "Tabular_elo"])


def test_a_competition_without_a_category_is_named(catalogue: pd.DataFrame, tmp_path: Path) -> None:
    short = catalogue[catalogue["competition"] != "fair_class"]
    with pytest.raises(ValueError, match="no category of fair_class"):
        benchmark_table(synthetic_scores(0), short, read_published(PUBLISHED), {}, 10, seed=3)
    for wrong in (pd.concat([catalogue, catalogue[:1]]), catalogue.assign(category="Overall")):
        with pytest.raises(ValueError, match=r"listed twice|other than Overall"):
            read_catalogue(written_as_table(wrong, tmp_path))


def written_as_table(catalogue: pd.DataFrame, folder: Path) -> Path:
    """Like a study's table of competitions."""
    table = catalogue.rename(columns={"category": "task_type"})
    table.to_csv(folder / "table.tsv", sep="\t", index=False)
    return folder / "table.tsv"


def test_the_script_writes_both_tables(
    catalogue: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = synthetic_scores(0)
    scores.to_csv(tmp_path / "scores.csv", index=False)
    name = scores.loc[scores["group"] == "held_out", "competition"].iloc[0]
    (tmp_path / name / "data/private").mkdir(parents=True)
    (tmp_path / name / "competition.json").write_text('{"higher_is_better": true}')
    board = tmp_path / name / "data/private/private_leaderboard.csv"
    pd.DataFrame({"score": np.arange(100.0) / 10}).to_csv(board, index=False)
    options = {
        "scores": tmp_path / "scores.csv",
        "competitions-table": written_as_table(catalogue, tmp_path),
        "published": PUBLISHED,
        "competitions-dir": tmp_path,
        "kaggle": name,
        "resamples": 50,
        "seed": 1,
        "benchmark-csv": tmp_path / "benchmark.csv",
        "benchmark-tex": tmp_path / "benchmark.tex",
    }
    arguments = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    monkeypatch.setattr(sys, "argv", ["tabulate_benchmark", *arguments])
    runpy.run_path(str(ROOT / "scripts/tabulate_benchmark.py"), run_name="__main__")
    table = read_csv(tmp_path / "benchmark.csv", ("policy", "source", "Overall_elo", "note"))
    latex = (tmp_path / "benchmark.tex").read_text()
    assert latex == benchmark_latex(table) and latex.count(r"\midrule") == 3
    lines = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in lines[1:-1]} == {1 + 5 * 3 + 2}
    assert "not on the scale of the quoted ones" in lines[-1]
    assert r"o3-mini & quoted & 1.895 & 56.48 & 1108 & 0.739" in latex
