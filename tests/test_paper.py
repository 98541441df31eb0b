"""The paper kit: every number a macro, every claim and answer from the study itself."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import yaml
from checkout import run
from docutils import nodes
from made_paper import (
    MADE,
    TIMING,
    configured,
    first_page,
    shipped,
    study_of,
    synthetic_study,
    told,
)
from synthetic_study import synthetic_scores

from agent.evaluation.benchmark_table import benchmark_latex
from agent.evaluation.comparison import compare_competitions
from agent.evaluation.paper import Study, macro, macros, paper_texts, written
from agent.evaluation.tables import competitions_latex, results_latex
from agent.evaluation.variants import Variant, compare_variants, variants_latex

# Between them they take most of the ways in which the texts branch.
CONFIGS = (
    ("config/config.yaml", ""),
    ("config/qwen7b.yaml", ""),
    ("config/ablations.yaml", ""),
    ("config/algorithms.yaml", "grpo"),
    ("config/algorithms.yaml", "reinforce_plus_plus"),
    ("config/algorithms.yaml", "critic_warmup"),
    ("config/algorithms.yaml", "rft_then_ppo"),
    ("config/algorithms.yaml", "rft_alone"),
    ("config/algorithms.yaml", "learnability"),
)


@pytest.fixture(scope="module")
def study() -> Study:
    return synthetic_study()


def defined(texts: dict[str, str]) -> list[str]:
    of_files = (texts["numbers.tex"], texts["timing.tex"], texts["captions.tex"])
    return re.findall(r"^\\newcommand{\\(\w+)}", "\n".join(of_files), re.MULTILINE)


@pytest.mark.parametrize(("path", "variant"), CONFIGS)
def test_every_macro_and_citation_exists_once(study: Study, path: str, variant: str) -> None:
    texts = paper_texts(configured(study, shipped(path, variant)))
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
    first, second = paper_texts(study), paper_texts(told(study, wall_seconds=1e5))
    assert {name for name in first if first[name] != second[name]} == {"timing.tex"}
    assert r"\newcommand{\resWallMinutes}{1.5}" in first["timing.tex"]


def test_cost_is_what_jobs_held(study: Study) -> None:
    """And on which machines: the checklist asks for it, and the first page says it."""
    assert "9 jobs held 0.2 core-hours and at most 1.5 GiB" in first_page(study).astext()
    assert "on up to 2 cores of 1 machine (A processor @ 2 GHz)" in first_page(study).astext()
    machines = {"count": 3, "cpus": ["A_processor"], "gpus": ["A GPU"]}
    time = dict(study.time) | {"gpu_seconds": 9000.0, "machines": machines}
    on_gpus = replace(configured(study, shipped("config/qwen7b.yaml")), time=time)
    page = first_page(on_gpus).astext()
    assert "held 0.2 core-hours, 2.5 GPU-hours and" in " ".join(page.split())
    assert "3 machines (A_processor, A GPU)" in page
    texts = paper_texts(on_gpus)
    assert r"\newcommand{\resCoreHours}{0.2}" in texts["timing.tex"]
    assert r"\newcommand{\resGpuHours}{2.5}" in texts["timing.tex"]
    assert r"{\resMachines}{3 machines (A\_processor, A GPU)}" in texts["timing.tex"]
    assert r"\resCoreHours{} core-hours, \resGpuHours{} GPU-hours" in texts["checklist.tex"]
    assert "GPU-hours" not in paper_texts(study)["checklist.tex"]
    unknown = replace(study, time=dict(time) | {"machines": machines | {"gpus": None}})
    assert "GPUs of an unknown model" in first_page(unknown).astext()


def test_the_settings_in_the_kit_are_those_that_were_used(study: Study) -> None:
    assert yaml.safe_load(paper_texts(study)["config.yaml"]) == study.config


def test_numbers_that_a_study_lacks_are_dashes() -> None:
    lines = macros(written({"fixed_portfolio": None, "gain_ci": [None, None], "x_ci_by_run": None}))
    assert lines.count("{--}") == 5 and r"{\resXCiByRunHigh}{--}" in lines


def test_digits_of_a_name_are_spelt() -> None:
    assert macro("top_10") == "resTopOneZero" and macro("per_1000_x") == "resPerThousandX"
    assert macro("iqm_gpt_4o") == "resIqmGptFourO" and macro("iqm_qwen7b") == "resIqmQwenSevenB"


def test_names_that_share_their_letters_get_macros_of_their_own() -> None:
    lines = macros([("x4", "1"), ("x_4", "2"), ("y", "3"), ("x_four", "4")]).splitlines()
    assert lines == [
        r"\newcommand{\resXFour}{1}",
        r"\newcommand{\resXFourAgain}{2} % x_4",
        r"\newcommand{\resY}{3}",
        r"\newcommand{\resXFourAgainAgain}{4} % x_four",
    ]


def test_models_behind_an_api_are_quoted_whatever_their_names(study: Study) -> None:
    """Each name is one that the schema allows; one ends as a p-value does, one as an interval."""
    names = ("gpt_4o", "gpt4o", "gpt__4o_", "qwen7b", "x", "x_ci_low", "p_value", "gain_rate_1")
    score = study.results[study.results["policy"] == "base"].assign(iqm=0.5, iqm_low=0.25)
    rows = [score.assign(policy=name) for name in names]
    used = replace(study, results=pd.concat([study.results, *rows]))
    lines = paper_texts(used)["numbers.tex"].splitlines()
    found = [re.fullmatch(r"\\newcommand{\\([A-Za-z]+)}{(.*)}( % \w+)?", line) for line in lines]
    macros_found = [match[1] for match in found if match]
    assert len(macros_found) == len(lines) == len(set(macros_found))
    assert "Again" not in paper_texts(study)["numbers.tex"]
    quoted = {match[1]: match[2] for match in found if match}
    for own in ("GptFourO", "GptFourOAgain", "GptFourOAgainAgain", "QwenSevenB", "X", "PValue"):
        assert quoted[f"resTableIqm{own}"] == "0.500"
    assert quoted["resTableIqmXCiLowAgain"] == quoted["resTableIqmGainRateOne"] == "0.500"
    assert quoted["resTableIqmXCiLow"] == "0.250"


def test_captions_are_escaped(study: Study) -> None:
    assert (
        r"{\captionLearningCurves}{Two runs \& 95 \% of it.}" in paper_texts(study)["captions.tex"]
    )


@pytest.mark.parametrize(
    ("changes", "item", "answer"),
    [
        ({"improvement_shown": True}, "Claims", "Yes"),
        ({"improvement_shown": False}, "Claims", "No"),
        ({"n_seeds": 1}, "Statistical significance", "No"),
        ({"n_seeds": 3}, "Statistical significance", "Yes"),
        ({}, "Open access to data and code", "Yes"),
        ({}, "Broader impacts", "ForAuthors"),
    ],
)
def test_the_checklist_answers_from_the_results(
    study: Study, changes: dict[str, object], item: str, answer: str
) -> None:
    text = paper_texts(told(study, **changes))["checklist.tex"]
    items = dict(re.findall(r"\\item \\textbf{([^}]*)\.} \\(\w+){}", text))
    assert items[item] == answer and len(items) == 16


def test_data_that_must_be_downloaded_are_not_called_open(study: Study) -> None:
    text = paper_texts(configured(study, shipped("config/qwen7b.yaml")))["checklist.tex"]
    assert r"\textbf{Open access to data and code.} \No{}" in text
    assert "with up to 8 GPUs per" in text and "not the same to the bit" in text


@pytest.mark.parametrize(("path", "variant"), CONFIGS)
def test_the_first_page_answers_seven_questions(study: Study, path: str, variant: str) -> None:
    used = configured(study, shipped(path, variant))
    document = first_page(used)
    questions = [node.astext() for node in document.findall() if node.tagname == "strong"]
    assert len(questions) == 7 and all(question.endswith("?") for question in questions)
    text = document.astext()
    assert f"{used.headline['gain']:+.2f}" in text and "12,345 tokens" in text
    assert "--configfile results/some/paper/config.yaml" in text
    assert json.dumps(None) not in text and "None" not in text


@pytest.mark.parametrize("note", ["", "5 data sets: held the truth in 80% of studies"])
@pytest.mark.parametrize("missing", ["", "run 7"])
def test_each_question_of_the_first_page_begins_a_paragraph(
    study: Study, note: str, missing: str
) -> None:
    noted = {"gain_ci_by_data_set_note": note, "interval_note": note}
    document = first_page(told(study, **noted, missing_seeds=missing))
    questions = list(document.findall(nodes.strong))
    assert len(questions) == 7
    assert all(question.parent.children[0] is question for question in questions)
    text = document.astext()
    assert text.count(note) >= 2 and ("Begun and missing" in text) == bool(missing)
    assert not missing or "Begun and missing in all numbers: run 7." in " ".join(text.split())


def test_the_first_page_says_what_code_and_settings_were_used(study: Study) -> None:
    text = first_page(study).astext()
    assert f"made with commit {MADE['commit']} of https://example.org/study, unchanged" in text
    assert f"git checkout {MADE['commit'][:12]}\n" in text and "0123456789ab)" in text
    assert "with changes that are not in it" in first_page(study, dirty=True).astext()
    unknown = {"commit": None, "dirty": None, "unknown": {"commit": "no git"}}
    text = first_page(study, **unknown).astext()
    assert "The version of the code is not known (no git)" in text and "git checkout" not in text


def test_numbers_of_the_first_page_lead_to_their_episodes(study: Study) -> None:
    links = first_page(study, repository=None).findall(nodes.reference)
    addresses = {link.astext(): link["refuri"].partition("'#/")[2] for link in links}
    for policy, more in (("base", ""), ("trained", "&iteration=5")):
        told = f"{study.headline[f'iqm_{policy}']:.2f}"
        wanted = f"episodes?source=evaluation&group=held_out&policy={policy}{more}'}})"
        assert addresses[told] == wanted
    assert len(addresses) >= 8 and all(addresses.values())


@pytest.mark.parametrize(("path", "variant"), CONFIGS)
def test_the_table_of_variants_is_in_the_paper_of_a_study_that_has_some(
    study: Study, path: str, variant: str
) -> None:
    text = paper_texts(configured(study, shipped(path, variant)))["paper.tex"]
    has_some = path == "config/ablations.yaml"
    assert (r"\fitted{variants}" in text) == has_some == (r"\ref{tab:variants}" in text)


def write_kit(study: Study, folder: Path, scores: pd.DataFrame, planned: tuple[int, ...]) -> None:
    """The kit as its script leaves it, with an empty figure for each."""
    for name, text in paper_texts(study).items():
        (folder / name).write_text(text)
    (folder / "results.tex").write_text(results_latex(study.results))
    by_name = compare_competitions(scores, 50, 0, planned)
    tables = {"competitions.tex": competitions_latex(by_name)}
    if study.config["variants"]:
        kinds = [Variant("", "", scores), Variant("no_x", "ppo.x=0, ppo.y=0.5", scores)]
        tables["variants.tex"] = variants_latex(compare_variants(kinds, 50, 0, planned))
    for name, text in tables.items():
        (folder / name).write_text(text)
    for name in study.captions:
        plt.figure().savefig(folder / f"{name}.pdf")
    plt.close("all")


def compiled(folder: Path) -> str:
    """What LaTeX says of a kit that it has made a paper of."""
    if not shutil.which("pdflatex"):
        pytest.skip("no TeX: install Debian's texlive-latex-recommended")
    latex = ("pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper")
    for command in (latex, ("bibtex", "paper"), latex, latex):
        done = run(folder, *command)
        assert done.returncode == 0, done.stdout[-3000:]
    log = (folder / "paper.log").read_text(errors="replace")
    assert "undefined" not in log and "multiply" not in log
    assert (folder / "paper.pdf").read_bytes().startswith(b"%PDF")
    return log


@pytest.mark.parametrize(("path", "variant"), CONFIGS)
def test_the_paper_compiles_under_each_configuration(
    study: Study, tmp_path: Path, path: str, variant: str
) -> None:
    is_shown = variant != "grpo"
    p_value = None if variant == "rft_alone" else 0.01
    used = told(study, improvement_shown=is_shown, gain_p_value=p_value)
    write_kit(configured(used, shipped(path, variant)), tmp_path, synthetic_scores(0), ())
    compiled(tmp_path)


def test_tables_with_much_to_remark_stay_on_the_page(tmp_path: Path) -> None:
    """Three runs and a lost one, competitions with long names, one on which nothing differs."""
    scores = synthetic_scores(0, runs=3)
    scores["competition"] = "competition-of-which-the-name-is-as-long-as-" + scores["competition"]
    tied = scores["competition"].str.endswith("wine_regre") | scores["competition"].str.endswith(
        "heart_regre"
    )
    scores.loc[tied & scores["policy"].isin(["base", "trained"]), "score"] = 0.5
    planned = (0, 1, 2, 7)
    study = study_of(scores, planned)
    assert study.headline["missing_seeds"] == "run 7"
    write_kit(configured(study, shipped("config/ablations.yaml")), tmp_path, scores, planned)
    for name in ("results", "competitions"):
        note = (tmp_path / f"{name}.tex").read_text().split("raggedright ")[1]
        assert "Missing: run 7 of base and trained." in note
        assert note.count("run 7") == note.count("only 3 runs") == 1
    published = [{"policy": "o3-mini", "source": "quoted", "Overall_aup": 0.739}]
    measured = {"policy": "base", "source": "measured", "Overall_aup": 0.5}
    (tmp_path / "benchmark.tex").write_text(benchmark_latex(pd.DataFrame([measured, *published])))
    assert "the same in every resample" in (tmp_path / "competitions.tex").read_text()
    assert "Begun and missing in all numbers: run 7." in (tmp_path / "methods.tex").read_text()
    beyond = re.findall(r"Overfull \\hbox \(([\d.]+)pt", compiled(tmp_path))
    assert max(map(float, beyond), default=0.0) < 5.0
    assert r"\newlabel{tab:benchmark}" in (tmp_path / "paper.aux").read_text()
