"""The catalogue is complete and well-formed, and says what the checkout says where there is one."""

import csv
import importlib.util
import os
import runpy
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from checkout import ROOT, copy_repository, replace_in
from mledojo_metrics import load_all, score, synthesise
from snakemake.api import SnakemakeApi
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
)

from agent.competitions.catalogue import CATALOGUE, COLUMNS, find, read_catalogue, row_of

COMMIT = "667a8fd0e959eb47f140ce7e621f831fdb55e5dd"
CHECKOUT = Path(os.environ.get("MLE_DOJO_CHECKOUT", ROOT / "MLE-Dojo/checkout"))
needs_checkout = pytest.mark.skipif(
    not CHECKOUT.is_dir(),
    reason="no MLE-Dojo checkout; MLE_DOJO_CHECKOUT may name one",
)
FILE = ROOT / CATALOGUE


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_competition_is_listed_once() -> None:
    entries = read_catalogue(FILE).values()
    assert len(entries) == 202
    assert Counter(entry.category for entry in entries) == {
        "": 151, "MLE-Lite": 21, "Tabular": 10, "NLP": 10, "CV": 10,
    }  # fmt: skip
    assert all((entry.split == "evaluation") == bool(entry.category) for entry in entries)
    assert all((entry.source == "kaggle") == entry.preparable for entry in entries)
    assert all(bool(entry.obstacle) != entry.preparable for entry in entries)
    assert sum(entry.source == "dsbench" for entry in entries) == 75
    assert sum(entry.higher_is_better for entry in entries) == 120


def test_reading_and_writing_an_entry_are_inverse() -> None:
    with FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row_of(entry) for entry in read_catalogue(FILE).values()] == rows


def test_a_name_is_found_and_an_unknown_one_is_answered_with_its_likes() -> None:
    catalogue = read_catalogue(FILE)
    assert find(catalogue, "titanic").metric == "TitanicMetrics"
    with pytest.raises(ValueError, match="did you mean AI4Code"):
        find(catalogue, "ai4code")
    with pytest.raises(ValueError, match=r"not one of MLE-Dojo's: `make competitions` lists"):
        find(catalogue, "???")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",evaluation,NLP,", ",held-out,NLP,", "line 2: split 'held-out' is none of"),
        (",evaluation,NLP,", ",evaluation,Sound,", "line 2: category 'Sound' is none of"),
        (",yes,", ",maybe,", "line 2: higher_is_better 'maybe' is none of"),
        (",142,", ",many,", "line 2: private_rows 'many' is no number"),
        ("AI4Code,", "20-newsgroups-ciphertext-challenge,", "1 slugs are repeated"),
        ("slug,split", "slug,kind", "the columns are not slug, split"),
        ("AI4Code,", "", "line 3: "),
    ],
)
def test_a_damaged_catalogue_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "competitions.csv"
    path.write_text(FILE.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as wrong:
        read_catalogue(path)
    assert str(path) in str(wrong.value) and "catalogue_mle_dojo.py" in str(wrong.value)
    with pytest.raises(FileNotFoundError, match="no such catalogue"):
        read_catalogue(tmp_path / "none.csv")


def test_the_list_is_filtered_and_ends_with_totals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)

    def listed(*options: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["list_competitions", *options])
        runpy.run_path(str(ROOT / "scripts/list_competitions.py"), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    table = listed("--category", "Tabular")
    assert len(table) == 1 + 10 + 1
    assert table[-1].startswith("10 competitions: 10 evaluation, 0 training; 0 with a prepare")
    assert len(listed("--split", "training", "--source", "dsbench", "--format", "csv")) == 1 + 62
    assert listed("--format", "csv") == FILE.read_text().splitlines()


def test_a_missing_token_is_said(tmp_path: Path) -> None:
    missing_token = script("list_competitions").missing_token
    assert str(tmp_path / ".kaggle/access_token") in missing_token({}, tmp_path)
    assert missing_token({"KAGGLE_USERNAME": "a"}, tmp_path) is not None
    assert missing_token({"KAGGLE_USERNAME": "a", "KAGGLE_KEY": "b"}, tmp_path) is None
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle/access_token").write_text("KGAT_x")
    assert missing_token({}, tmp_path) is None


@needs_checkout
def test_the_catalogue_is_what_the_checkout_says(tmp_path: Path) -> None:
    script("catalogue_mle_dojo").main(CHECKOUT, COMMIT, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == FILE.read_bytes()
    assert tuple(COLUMNS) == tuple(FILE.read_text().split("\n", 1)[0].split(","))


@needs_checkout
def test_every_metric_scores_a_synthetic_submission_unless_a_package_is_missing() -> None:
    unmet = {
        slug
        for slug, entry in read_catalogue(FILE).items()
        if any("<" in name or not importlib.util.find_spec(name) for name in entry.metric_packages)
    }
    metrics = load_all(CHECKOUT)
    assert len(metrics) == 202
    failed = set()
    for slug, metric in metrics.items():
        if slug in unmet:
            continue
        try:
            answers, submission = synthesise(slug, metric())
            score(metric(), answers, submission)
        except ValueError:
            failed.add(slug)
    assert failed == set()


def test_an_entry_that_changes_prepares_its_own_competition_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_repository(tmp_path)
    monkeypatch.chdir(folder)
    before = tracked_params(folder, "titanic", "spaceship-titanic")
    line = next(line for line in FILE.read_text().splitlines() if line.startswith("titanic,"))
    replace_in(folder, str(CATALOGUE), line, line.replace(",dsbench,", ",kaggle,"))
    after = tracked_params(folder, "titanic", "spaceship-titanic")
    assert after.keys() == before.keys() > {"titanic", "spaceship-titanic", "note_conditions"}
    # What an evaluation is played under tells of it, too.
    assert {name for name in before if before[name] != after[name]} == {
        "titanic",
        "note_conditions",
    }


def tracked_params(folder: Path, *competitions: str) -> dict[str, object]:
    """Parameters that run a job again, of some competitions' jobs and of the evaluations' notes."""
    targets = {f"results/competitions/{name}/competition.json" for name in competitions}
    note = "results/qwen7b/evaluation/seed0/iteration0/held_out/conditions.txt"
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, dryrun=True)) as api:
        workflow = api.workflow(
            ResourceSettings(cores=1),
            ConfigSettings(configfiles=[folder / "config/qwen7b.yaml"]),
            snakefile=folder / "Snakefile",
        )
        workflow.dag(DAGSettings(targets={*targets, note})).printrulegraph()
        jobs = list(workflow._workflow.dag.jobs)
    return {
        job.wildcards.get("competition", job.rule.name): str(job.non_derived_params) for job in jobs
    }
