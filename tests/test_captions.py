"""Captions state what the study was: n, seeds and intervals, and nothing that it was not."""

from pathlib import Path

import pytest
from docutils.core import publish_doctree
from synthetic_study import synthetic_scores, synthetic_turns, write_study

from agent.evaluation import captions
from agent.evaluation.comparison import compare_competitions
from agent.evaluation.cost_figures import COST_METRICS
from agent.evaluation.inputs import read_scores, read_training_metrics
from agent.evaluation.interval_worth import runs_note
from agent.evaluation.process_figures import TRAINING_METRICS
from agent.evaluation.time_split import read_timings, split_time

SEEDS = "5 training runs (seeds 0, 1, 2, 3, 4)"
INTERVAL = "95 % interval for new training runs"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, seed=0)
    scores = read_scores(folder / "scores.csv")
    keys = (*TRAINING_METRICS, *COST_METRICS)
    metrics = read_training_metrics(sorted(folder.rglob("metrics.json")), keys)
    changes = compare_competitions(scores, 50, seed=0)
    return {
        "learning_curves": captions.learning_curves(scores, metrics, 2000),
        "competition_changes": captions.competition_changes(changes, 2000),
        "performance_profiles": captions.performance_profiles(scores, 2000),
        "score_distributions": captions.score_distributions(scores),
        "cost_against_score": captions.cost_against_score(scores, metrics, 2000),
        "training_metrics": captions.training_metrics(metrics),
        "action_mix": captions.action_mix(synthetic_turns(0)),
        "time_split": captions.time_split(split_time(read_timings([folder / "timing"]), 2)[0]),
    }


def test_captions_are_plain_text_to_docutils(written: dict[str, str]) -> None:
    for text in written.values():
        document = publish_doctree(text, settings_overrides={"halt_level": 2, "report_level": 2})
        assert document.astext() == text


def test_captions_of_scores_state_sample_seeds_and_interval(written: dict[str, str]) -> None:
    for name in ("learning_curves", "performance_profiles", "cost_against_score"):
        assert SEEDS in written[name] and f"{INTERVAL} " in written[name]
        assert "10 held-out competitions from 5 data sets" in written[name]
        told = written[name].replace(runs_note(5, "stratified"), "")
        assert "2,000 resamples" in told and "simulated" not in told
        assert written[name].endswith("expected score of the best of 2 first attempts.")
    bands = written["performance_profiles"].split("Bands: ")[1]
    assert "5 runs: held the truth in 56% to 91% of simulated studies" in bands
    assert "5 base and 5 trained runs" in written["competition_changes"]
    assert INTERVAL in written["competition_changes"]
    assert "4 episodes per competition and run after 6 updates" in written["learning_curves"]


def test_what_has_no_interval_says_so(written: dict[str, str]) -> None:
    assert f"{SEEDS}; no intervals" in written["training_metrics"]
    assert "without intervals" in written["action_mix"]
    assert "not an interval" in written["score_distributions"]


@pytest.mark.parametrize(
    ("runs", "told"),
    [(1, "one run: no interval"), (3, "only 3 runs: held the truth in")],
)
def test_few_runs_are_told_in_the_caption(runs: int, told: str, tmp_path: Path) -> None:
    synthetic_scores(0, runs=runs).to_csv(tmp_path / "scores.csv", index=False)
    scores = read_scores(tmp_path / "scores.csv")
    assert told in captions.performance_profiles(scores, 2000)
