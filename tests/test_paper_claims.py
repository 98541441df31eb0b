"""What a paper claims: an improvement where the corrected test shows one, and nowhere else."""

import re

import pandas as pd
import pytest
from made_paper import first_page, study_of, synthetic_study, told
from synthetic_study import ITERATIONS, synthetic_scores

from agent.evaluation.headline import describe
from agent.evaluation.paper import Study, macros, paper_texts, written

RISES = re.compile(r"\b(raises?|rises?|rose|gain of|improves?|from 0)\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def shown() -> Study:
    return synthetic_study()


@pytest.fixture(scope="module")
def null() -> Study:
    """The trained policies are the base ones of other runs: nothing was gained."""
    return study_of(relabelled(base=False))


@pytest.fixture(scope="module")
def negative() -> Study:
    """Training made of what was good what was bad."""
    return study_of(relabelled(base=True))


def relabelled(base: bool) -> pd.DataFrame:
    """The base's scores as the trained policy's, one run further; with `base`, vice versa, too."""
    scores = synthetic_scores(0)
    at_end = scores["iteration"].isin((0, ITERATIONS[-1]))
    keys = ["policy", "iteration", "seed"]
    played = scores[at_end & scores["policy"].isin(("base", "trained"))]
    was_base = played["policy"] == "base"
    worse = played[was_base].assign(policy="trained", iteration=ITERATIONS[-1])
    worse["seed"] = (worse["seed"] + 1) % 5
    better = played[~was_base].assign(policy="base", iteration=0) if base else played[was_base]
    rest = scores.drop(played.index)
    return pd.concat([rest, worse, better]).sort_values(keys)


def abstract(study: Study) -> str:
    text = paper_texts(study)["paper.tex"].replace("\n", " ")
    return re.findall(r"\\begin{abstract}(.*)\\end{abstract}", text)[0]


def claims(study: Study) -> tuple[str, str]:
    """Answer and reason of the checklist's first item."""
    text = paper_texts(study)["checklist.tex"].replace("\n", " ")
    return re.findall(r"\\textbf{Claims\.} \\(\w+){} (.*?)\\item", text)[0]


def answers(study: Study) -> dict[str, str]:
    """The first page by its questions."""
    parts = [text.partition("?\n") for text in first_page(study).astext().split("\n\n")]
    return {question + mark.strip(): " ".join(answer.split()) for question, mark, answer in parts}


def test_the_three_studies_are_what_they_are_called(
    shown: Study, null: Study, negative: Study
) -> None:
    assert shown.headline["improvement_shown"] and shown.headline["gain"] > 0.2
    assert abs(null.headline["gain"]) < 1e-9 and null.headline["gain_p_value"] > 0.5
    assert negative.headline["gain"] < -0.2 and negative.headline["gain_p_value"] < 0.001
    assert not null.headline["improvement_shown"] and not negative.headline["improvement_shown"]


def test_a_shown_improvement_is_claimed(shown: Study) -> None:
    assert "training raises" in abstract(shown)
    assert r"An improvement is shown: \resGainPValue{} after Holm" in abstract(shown)
    answer, reason = claims(shown)
    assert answer == "Yes" and r"\resGainPValue" in reason
    assert answers(shown)["How much better did it become?"].startswith("From 0.27 to 0.66, a gain")


@pytest.mark.parametrize("name", ["null", "negative", "uncorrected", "one run"])
def test_what_is_not_shown_is_not_claimed(
    name: str, shown: Study, null: Study, negative: Study
) -> None:
    """An interval above 0 is no claim either, where the test that is corrected does not hold."""
    doubtful = {"gain_ci": [0.01, 0.2], "gain_p_value": 0.12, "improvement_shown": False}
    untested = {"gain_ci": [None, None], "gain_p_value": None, "improvement_shown": False}
    study = {
        "null": null,
        "negative": negative,
        "uncorrected": told(shown, **doubtful),
        "one run": told(shown, **untested, n_seeds=1),
    }[name]
    told_in_abstract, (answer, reason) = abstract(study), claims(study)
    assert r"is \resIqmBase{} before and \resIqmTrained{} after training" in told_in_abstract
    assert "not shown" in told_in_abstract and not RISES.search(told_in_abstract)
    assert answer == "No" and "carry no claim" in reason and "excludes" not in reason
    page = answers(study)
    better = page["How much better did it become?"]
    assert better.startswith("An improvement is not shown: the score is ")
    assert not RISES.search(better)
    assert "improvement over the base is not shown" in page["How sure is that?"]
    tested = study.headline["gain_p_value"] is not None
    assert (r"\resGainPValue" in told_in_abstract) == (r"\resGainPValue" in reason) == tested


def test_no_part_of_a_study_contradicts_another(shown: Study, null: Study, negative: Study) -> None:
    for study in (shown, null, negative):
        is_shown = "NOT shown" not in describe(dict(study.headline))
        assert is_shown == (claims(study)[0] == "Yes") == ("raises" in abstract(study))
        assert is_shown == ("not shown" not in " ".join(answers(study).values()))


def test_first_attempts_are_told_without_a_direction(negative: Study) -> None:
    n = negative.headline
    assert n["first_attempt_base"] > n["first_attempt_trained"]
    told_of_it = answers(negative)["How much better did it become?"]
    before, after = f"{n['first_attempt_base']:.2f}", f"{n['first_attempt_trained']:.2f}"
    assert f"The first attempt scores {before} before and {after} after it" in told_of_it


def test_p_values_are_written_with_their_relation() -> None:
    lines = macros(written({"gain_p_value": 0.0213, "x_p_value": 0.0004, "y_p_value": None}))
    assert r"{\resGainPValue}{\ensuremath{p = 0.021}}" in lines
    assert r"{\resXPValue}{\ensuremath{p < 0.001}}" in lines and r"{\resYPValue}{--}" in lines


def test_a_verdict_is_a_word(null: Study) -> None:
    assert r"{\resImprovementShown}{no}" in paper_texts(null)["numbers.tex"]
