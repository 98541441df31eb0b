"""The table of variants: its cells against the table of measures, its corrections and notes."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests
from synthetic_study import synthetic_scores

from agent.evaluation.comparison import compare_policies
from agent.evaluation.headline import statistics_row
from agent.evaluation.variants import Variant, compare_variants, variants_latex


def scores(seed: int, runs: int = 5, lowered: float = 0.0) -> pd.DataFrame:
    table = synthetic_scores(seed, runs)
    better = (table["policy"] == "trained") & (table["group"] == "held_out")
    table.loc[better, "score"] = (table.loc[better, "score"] - lowered).clip(0, 1)
    return table


def compare(*variants: pd.DataFrame, planned: tuple[int, ...] = ()) -> pd.DataFrame:
    named = [Variant(f"v{place}" * (place > 0), "", one) for place, one in enumerate(variants)]
    return compare_variants(named, 400, seed=1, planned=planned).set_index("variant")


def test_cells_are_those_of_the_table_of_measures() -> None:
    study = scores(0)
    table, measures = compare(study, scores(1, lowered=0.2)), compare_policies(study, 400, 1)
    row = table.loc["as configured"]
    for column, against in (("score", ""), ("gain", "base")):
        known = statistics_row(measures, column, "trained", against)
        for end, part in (("", "value"), ("_low", "low"), ("_high", "high")):
            assert row[f"{column}{end}"] == pytest.approx(known[part], abs=1e-12)
    assert np.isnan([row["difference"], row["probability_of_improvement"]]).all()
    lowered = table.loc["v1"]
    assert lowered["difference"] == pytest.approx(lowered["score"] - row["score"], abs=1e-12)


def test_p_values_are_corrected_for_the_number_of_variants() -> None:
    others = [scores(seed, lowered=0.04 * seed) for seed in (1, 2, 3)]
    alone = [compare(scores(0), one)["difference_p_adjusted"]["v1"] for one in others]
    together = compare(scores(0), *others)["difference_p_adjusted"].dropna()
    expected = multipletests(alone, method="holm")[1]
    assert together.to_numpy() == pytest.approx(expected, abs=1e-12)
    assert (together.to_numpy() > alone).any()


def test_intervals_stay_within_what_scores_can_be_and_say_what_they_are_worth() -> None:
    two = scores(0, runs=2)
    two.loc[(two["policy"] == "trained") & (two["seed"] == 0), "score"] = 0.1
    table = compare(two, scores(1, runs=2), scores(2, runs=1))
    ends = table.loc["as configured", ["score_low", "score_high"]]
    assert ends.tolist() == [0.0, 1.0]
    assert table.loc["v1", "note"].startswith("only 2 runs: held the truth in ")
    assert "one run: no interval" in table.loc["v2", "note"]
    assert np.isnan(table.loc["v2", "score_low"])


def test_missing_runs_and_notes_of_single_cells_are_told() -> None:
    study, lost = scores(0), scores(1)
    lost = lost[lost["seed"] != 3]
    best = lost["policy"] == "trained"
    lost.loc[best, "score"] = 1.0
    table = compare(study, lost, planned=(0, 1, 2, 3, 4))
    assert table["n_missing_runs"].tolist() == [0, 1] and table["n_runs"].tolist() == [5, 4]
    assert table.loc["v1", "missing_runs"] == "run 3"
    assert "the same in every resample of runs: no interval" in table.loc["v1", "note"]
    assert table.loc["v1", "note"].startswith("score")
    latex = variants_latex(table.reset_index())
    assert "4 of 5" in latex and "the same in every resample" in latex
    assert "Missing: run 3 of v1." in latex
