"""The paper kit: every number a macro, every claim and answer from the study itself."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from checkout import ROOT
from docutils.core import publish_doctree
from synthetic_study import synthetic_turns, write_study

from agent.core.settings import read_config
from agent.evaluation.comparison import compare_competitions, compare_policies
from agent.evaluation.headline import headline
from agent.evaluation.inputs import read_scores
from agent.evaluation.paper import Study, macro, macros, paper_texts
from agent.evaluation.tables import results_table
from agent.evaluation.writing import fill, groups_of

TIMING = {
    "wall_seconds": 90.0,
    "useful_time_share": 0.8,
    "named_share": 0.97,
    "peak_memory_gib": 1.5,
}
CONFIGS = ("config/config.yaml", "config/qwen7b.yaml")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, seed=0)
    scores = read_scores(folder / "scores.csv")
    statistics = compare_policies(scores, 50, seed=0)
    competitions = compare_competitions(scores, 50, seed=0)
    return Study(
        read_config(str(ROOT / CONFIGS[0])),
        headline(statistics, competitions, synthetic_turns(0), TIMING),
        results_table(statistics),
        pd.read_csv(ROOT / "config/competitions.tsv", sep="\t", comment="#"),
        {"learning_curves": "Two runs & 95 % of it.", "time_split": "Where time went."},
        2,
    )


def configured(study: Study, path: str) -> Study:
    config = read_config(str(ROOT / path))
    table = pd.read_csv(ROOT / config["competitions"], sep="\t", comment="#")
    return replace(study, config=config, competitions=table)


def defined(texts: dict[str, str]) -> list[str]:
    of_files = (texts["numbers.tex"], texts["timing.tex"], texts["captions.tex"])
    return re.findall(r"^\\newcommand{\\(\w+)}", "\n".join(of_files), re.MULTILINE)


@pytest.mark.parametrize("path", CONFIGS)
def test_every_macro_and_citation_exists_once(study: Study, path: str) -> None:
    texts = paper_texts(configured(study, path))
    names = defined(texts)
    assert len(names) == len(set(names)) > 60
    written = "".join(texts[name] for name in ("paper.tex", "methods.tex", "checklist.tex"))
    used = set(re.findall(r"\\((?:res|caption)[A-Z]\w*)", written))
    assert len(used) > 25 and used <= set(names)
    cited = set(re.findall(r"\\cite{(\w+)}", written))
    entries = re.findall(r"^@\w+{(\w+),$", texts["references.bib"], re.MULTILINE)
    assert cited <= set(entries) and len(entries) == len(set(entries)) == 9
    assert ("hui2024qwen25coder" in cited) == ("kwon2023vllm" in cited) == ("qwen7b" in path)


def test_a_headline_number_is_quoted_as_it_is(study: Study) -> None:
    quoted = dict(
        re.findall(
            r"^\\newcommand{\\(\w+)}{(.*)}$", paper_texts(study)["numbers.tex"], re.MULTILINE
        )
    )
    numbers = study.headline
    assert quoted["resIqmBase"] == f"{numbers['iqm_base']:.3f}"
    assert quoted["resGain"] == rf"\ensuremath{{{numbers['gain']:+.3f}}}"
    assert quoted["resGainCiByRunLow"] == rf"\ensuremath{{{numbers['gain_ci_by_run'][0]:+.3f}}}"
    assert quoted["resTrainedValidRate"] == rf"{100 * numbers['trained_valid_rate']:.1f}\,\%"
    assert quoted["resNSeeds"] == "5" and quoted["resNTrainCompetitions"] == "49"
    assert quoted["resTableIqmDummy"] == f"{numbers['dummy']:.3f}"
    named = set(quoted)
    for name, value in numbers.items():
        ends = ("_low", "_high") if isinstance(value, list) else ("",)
        measured = name in TIMING or name == "named_time_share"
        assert measured or {macro(name + end) for end in ends} <= named


def test_what_was_measured_in_time_stands_apart(study: Study) -> None:
    slower = replace(study, headline=dict(study.headline) | {"wall_seconds": 1e5})
    first, second = paper_texts(study), paper_texts(slower)
    assert {name for name in first if first[name] != second[name]} == {"timing.tex"}
    assert r"\newcommand{\resWallMinutes}{1.5}" in first["timing.tex"]


def test_the_settings_in_the_kit_are_those_that_were_used(study: Study) -> None:
    assert yaml.safe_load(paper_texts(study)["config.yaml"]) == study.config


def test_numbers_that_a_study_lacks_are_dashes() -> None:
    lines = macros({"fixed_portfolio": None, "gain_ci": [None, None], "x_ci_by_run": None})
    assert lines.count("{--}") == 5 and r"{\resXCiByRunHigh}{--}" in lines


def test_a_name_with_digits_is_refused() -> None:
    with pytest.raises(ValueError, match="macro of top_10: only letters are allowed"):
        macros({"top_10": 1})


def test_captions_are_escaped(study: Study) -> None:
    assert (
        r"{\captionLearningCurves}{Two runs \& 95 \% of it.}" in paper_texts(study)["captions.tex"]
    )


@pytest.mark.parametrize(
    ("changes", "item", "answer"),
    [
        ({"gain_ci": [0.01, 0.2]}, "Claims", "Yes"),
        ({"gain_ci": [-0.01, 0.2]}, "Claims", "No"),
        ({"gain_ci": [None, None], "n_seeds": 1}, "Claims", "No"),
        ({"n_seeds": 1}, "Statistical significance", "No"),
        ({"n_seeds": 3}, "Statistical significance", "Yes"),
        ({}, "Open access to data and code", "Yes"),
        ({}, "Broader impacts", "ForAuthors"),
    ],
)
def test_the_checklist_answers_from_the_results(
    study: Study, changes: dict[str, object], item: str, answer: str
) -> None:
    changed = replace(study, headline=dict(study.headline) | changes)
    text = paper_texts(changed)["checklist.tex"]
    items = dict(re.findall(r"\\item \\textbf{([^}]*)\.} \\(\w+){}", text))
    assert items[item] == answer and len(items) == 16


def test_data_that_must_be_downloaded_are_not_called_open(study: Study) -> None:
    text = paper_texts(configured(study, CONFIGS[1]))["checklist.tex"]
    assert r"\textbf{Open access to data and code.} \No{}" in text
    assert "with up to 8 GPUs per" in text and "not deterministic to the bit" in text


@pytest.mark.parametrize("path", CONFIGS)
def test_the_first_page_answers_seven_questions(study: Study, path: str) -> None:
    used = configured(study, path)
    page = fill(
        "first_page.rst",
        config=used.config,
        n=used.headline,
        time={"wall_seconds": 90.0, "cores": 2, "core_seconds": 180.0, "jobs": 9}
        | {"peak_memory_gib": 1.5},
        cost={"tokens": 12345.0, "programs": 67.0},
        groups=groups_of(used.competitions),
        kit=Path("results/some/paper"),
    )
    document = publish_doctree(page, settings_overrides={"halt_level": 2, "report_level": 2})
    questions = [node.astext() for node in document.findall() if node.tagname == "strong"]
    assert len(questions) == 7 and all(question.endswith("?") for question in questions)
    text = document.astext()
    assert f"{used.headline['gain']:+.2f}" in text and "12,345 tokens" in text
    assert "--configfile results/some/paper/config.yaml" in text
    assert json.dumps(None) not in text and "None" not in text
