"""Leaks that are planted are found, clean competitions are left alone."""

import hashlib
import json
import os
import runpy
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import PLAYED, ROOT

from agent.competitions.leak_audit import (
    CHECKS,
    Audit,
    audit_competition,
    drop_leaking_columns,
    leaking_columns,
)
from agent.competitions.leak_findings import Finding
from agent.competitions.leak_tables import drop_columns

MARK = "canary-0123456789abcdef"
Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]  # train, test, answers


def table_bytes(table: pd.DataFrame, name: str) -> bytes:
    if name.endswith(".parquet"):
        return table.to_parquet(index=False)
    if name.endswith(".jsonl"):
        return table.to_json(orient="records", lines=True).encode()
    if name.endswith(".json"):
        return table.to_json(orient="records").encode()
    return table.to_csv(index=False).encode()


def write(folder: Path, tables: Tables, suffix: str = ".csv") -> Path:
    """A competition in MLE-Dojo's format, with our mark in its private tables."""
    public, private = folder / "data/public", folder / "data/private"
    public.mkdir(parents=True)
    private.mkdir(parents=True)
    train, test, answers = tables
    for name, table in (("train", train), ("test", test)):
        if suffix == ".zip":
            with zipfile.ZipFile(public / f"{name}.csv.zip", "w") as archive:
                archive.writestr(f"{name}.csv", table_bytes(table, ".csv"))
        else:
            (public / f"{name}{suffix}").write_bytes(table_bytes(table, suffix))
    answers.assign(canary=MARK).to_csv(private / "test_answer.csv", index=False)
    sample = answers.assign(**{answers.columns[1]: answers.iloc[0, 1]})
    sample.to_csv(public / "sample_submission.csv", index=False)
    for board, best in (("public", 0.91), ("private", 0.9)):
        scores = pd.DataFrame({"score": np.linspace(best, 0.5, 50), "canary": MARK})
        scores.to_csv(private / f"{board}_leaderboard.csv", index=False)
    return folder


def clean(seed: int, rows: int = 600, kind: str = "binary", ids: str = "number") -> Tables:
    """Useful, useless, missing, categorical and text columns; every third row is of the test."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=rows)
    noisy = signal + rng.normal(size=rows)
    target = {
        "binary": (noisy > 0.4).astype(int),
        "classes": np.array(["low", "middle", "high"])[np.digitize(noisy, [-0.8, 0.8])],
        "numeric": np.round(np.exp(noisy), 4),
    }[kind]
    words = np.array("the a pizza house tree green never hungry is runs of day".split())
    table = pd.DataFrame(
        {
            "id": np.arange(rows) * 3 + 7,
            "signal": signal,
            "noise": rng.normal(size=rows),
            "count": rng.poisson(3, rows),
            "gaps": np.where(rng.random(rows) < 0.2, np.nan, rng.normal(size=rows)),
            "town": rng.choice(["Ulm", "Bonn", "Kiel", "N/A"], rows),
            "story": [" ".join(rng.choice(words, rng.integers(9, 30))) for _ in range(rows)],
            "flag": rng.random(rows) < 0.5,
            "target": target,
        }
    )
    if ids == "hash":
        table["id"] = [hashlib.md5(f"{seed}-{i}".encode()).hexdigest() for i in range(rows)]
    if ids == "name":
        table["id"] = [f"t3_{i:06d}" for i in rng.permutation(rows)]
    asked = rng.permutation(rows) < rows // 3
    answers = table.loc[asked, ["id", "target"]]
    return table[~asked], table[asked].drop(columns="target"), answers


def audited(folder: Path, tables: Tables, suffix: str = ".csv") -> Audit:
    return audit_competition(write(folder, tables, suffix))


def worst(audit: Audit, check: str) -> Finding | None:
    return next((one for one in audit.findings if one.check == check), None)


def pizza(seed: int = 0, known_givers: float = 1.0) -> Tables:
    """As random-acts-of-pizza: whoever has a known giver has been given a pizza."""
    train, test, answers = clean(seed, rows=900)
    rng = np.random.default_rng(seed)

    def with_givers(table: pd.DataFrame, given: pd.Series) -> pd.DataFrame:
        known = (given == 1).to_numpy() & (rng.random(len(table)) < known_givers)
        names = [f"user{rng.integers(1 << 30)}" if one else "N/A" for one in known]
        return table.assign(giver_username_if_known=names)

    train, test = with_givers(train, train["target"]), with_givers(test, answers["target"])
    names = {"id": "request_id", "target": "requester_received_pizza"}
    train, test, answers = (table.rename(columns=names) for table in (train, test, answers))
    received = train["requester_received_pizza"] == 1  # a bool there, a number in the answers
    return train.assign(requester_received_pizza=received), test, answers


@pytest.mark.parametrize("suffix", [".json", ".csv", ".jsonl", ".parquet", ".zip"])
def test_the_givers_of_pizzas_are_found_and_can_be_dropped(tmp_path, suffix):
    audit = audited(tmp_path / "pizza", pizza(), suffix)
    found = worst(audit, "columns")
    assert found is not None and found.severity == "critical" and found.value == 1.0
    packed = "test.csv.zip/test.csv" if suffix == ".zip" else f"test{suffix}"
    assert found.subject == f"{packed}:giver_username_if_known"
    assert leaking_columns(audit.findings) == ("giver_username_if_known",)
    public = tmp_path / "pizza/data/public"
    changed = drop_columns(public, leaking_columns(audit.findings))
    assert len(changed) == 2  # train and test, not the sample submission
    assert drop_leaking_columns(tmp_path / "pizza") == ["giver_username_if_known"]
    assert {name: (public / name).read_bytes() for name in changed} == changed
    again = audit_competition(tmp_path / "pizza")
    assert not [one for one in again.findings if one.severity != "note"]


def test_givers_that_are_seldom_known_still_make_their_rows_certain(tmp_path):
    audit = audited(tmp_path, pizza(known_givers=0.3))
    found = worst(audit, "columns")
    assert found is not None and found.severity == "critical"
    assert found.explanation.startswith("being present makes")
    assert 0.05 < found.value < 0.2
    assert leaking_columns(audit.findings) == ("giver_username_if_known",)


KINDS, IDS, ROWS = ("binary", "classes", "numeric"), ("number", "hash", "name"), (60, 150, 600, 900)


def test_clean_competitions_raise_no_alarm(tmp_path):
    alarms = []
    for seed in range(40):
        kind, ids, rows = KINDS[seed % 3], IDS[seed // 3 % 3], ROWS[seed % 4]
        suffix = (".csv", ".json", ".parquet")[seed % 3]
        audit = audited(tmp_path / str(seed), clean(seed, rows, kind, ids), suffix)
        alarms += [(seed, one) for one in audit.findings if one.severity != "note"]
    assert [one for _, one in alarms if one.severity == "critical"] == []
    assert len(alarms) <= 2, alarms


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_train", [True, False])
def test_a_disguised_copy_of_the_answers_is_found(tmp_path, kind, in_train):
    train, test, answers = clean(1, kind=kind)
    if kind == "numeric":
        codes = [np.log(table["target"]) * -3 for table in (train, answers)]
    else:
        codes = [
            table["target"].map(lambda v: f"code {len(str(v))}{v}") for table in (train, answers)
        ]
    train = train.assign(shadow=codes[0]) if in_train else train
    found = worst(audited(tmp_path, (train, test.assign(shadow=codes[1]), answers)), "columns")
    assert found is not None
    assert (found.severity, found.subject) == ("critical", "test.csv:shadow")


def test_a_lag_of_a_series_is_no_critical_leak_but_a_rounded_copy_is(tmp_path):
    walk = np.cumsum(np.random.default_rng(0).normal(0.5, 1, 601)) + 100
    table = pd.DataFrame({"id": np.arange(600), "lag1": walk[:-1], "target": walk[1:]})
    answers = table.loc[400:, ["id", "target"]]
    train, test = table[:400], table[400:].drop(columns="target")
    honest = audited(tmp_path / "lag", (train, test, answers))
    assert "critical" not in {one.severity for one in honest.findings}
    copied = test.assign(copy=answers["target"].round(2))
    found = worst(audited(tmp_path / "copy", (train, copied, answers)), "columns")
    assert found is not None and (found.severity, found.subject) == ("critical", "test.csv:copy")


def test_a_few_rows_alarm_no_one(tmp_path):
    """Of 14 answers, a good column may order every one: no critical finding."""
    train, test, answers = clean(2, rows=42)
    test = test.assign(signal=answers["target"] + np.linspace(0, 0.5, 14))
    audit = audited(tmp_path, (train, test, answers))
    assert "critical" not in {one.severity for one in audit.findings}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_sorted_by_their_answers_are_found(tmp_path, kind):
    train, test, answers = clean(3, kind=kind)
    order = np.argsort(answers["target"].to_numpy(), kind="stable")
    test = test.iloc[order].reset_index(drop=True)
    test["id"], answers = clean(3, ids="hash")[1]["id"].to_numpy(), answers.iloc[order]
    answers["id"] = test["id"].to_numpy()
    shuffled = answers.sample(frac=1, random_state=0)  # by id, not by place
    audit = audited(tmp_path, (train, test, shuffled))
    found = worst(audit, "row_order")
    assert found is not None and found.severity == "critical"
    assert worst(audit, "ids") is None


def test_ids_that_tell_the_answers_are_found(tmp_path):
    train, test, answers = clean(4)
    rng = np.random.default_rng(0)
    last_digit = 10 * rng.permutation(len(test)) + answers["target"].to_numpy()
    test = test.assign(id=last_digit)
    audit = audited(tmp_path / "digit", (train, test, answers.assign(id=last_digit)))
    found = worst(audit, "ids")
    assert found is not None and found.severity == "critical"
    assert found.explanation.startswith("last character")


def test_ids_that_continue_a_sorted_table_are_found(tmp_path):
    """All rows were sorted in blocks of one answer before they were numbered and split."""
    train, test, answers = clean(5, rows=900)
    every = pd.concat([train["target"], answers["target"]]).sort_index()
    blocks = np.lexsort((np.arange(900), every.to_numpy(), np.arange(900) // 60))
    new_id = pd.Series(np.argsort(blocks), index=every.index)
    train, test, answers = (
        table.assign(id=new_id[table.index]).sample(frac=1, random_state=1)
        for table in (train, test, answers)
    )
    found = worst(audited(tmp_path, (train, test, answers)), "ids")
    assert found is not None and found.severity in ("critical", "warning")
    assert "neighbouring ids" in found.explanation


@pytest.mark.parametrize("leak", ["sizes", "times", "none"])
def test_files_named_by_id_are_compared(tmp_path, leak):
    tables = clean(6, ids="hash")
    folder = write(tmp_path, tables)
    rng = np.random.default_rng(0)
    (folder / "data/public/images").mkdir()
    for name, answer in tables[2].itertuples(index=False):
        path = folder / f"data/public/images/{name}.png"
        path.write_bytes(rng.bytes(100 + 50 * (leak == "sizes") * answer + rng.integers(50)))
        moment = 1_000_000_000 + 500 * (leak == "times") * answer + int(rng.integers(500))
        os.utime(path, (moment, moment))
    audit = audit_competition(folder)
    assert {"file_sizes", "file_times"} <= set(audit.ran)
    for kind in ("sizes", "times"):
        found = worst(audit, f"file_{kind}")
        assert (found is not None and found.severity == "critical") == (leak == kind)


@pytest.mark.parametrize("kind", KINDS)
def test_test_rows_that_train_holds_are_found(tmp_path, kind):
    train, test, answers = clean(7, kind=kind)
    copied = test.assign(target=answers["target"])[:60].assign(id=range(9000, 9060))
    copied["signal"] *= 1 + 1e-6  # nearly
    copied["story"] = copied["story"].str.upper() + "!"
    audit = audited(tmp_path, (pd.concat([train, copied]), test, answers))
    found = worst(audit, "duplicates")
    assert found is not None and found.severity == "critical"
    assert found.value == pytest.approx(60 / len(test), abs=0.01)
    assert "100.0% of them" in found.explanation


def test_rows_that_agree_because_their_columns_are_coarse_are_a_note(tmp_path):
    tables = clean(8, kind="binary")
    train, test = (
        table[[c for c in table if c in ("id", "town", "flag", "target")]] for table in tables[:2]
    )
    found = worst(audited(tmp_path, (train, test, tables[2])), "duplicates")
    assert found is not None and found.severity == "note"


def test_equal_boards_and_perfect_tops_are_told(tmp_path):
    folder = write(tmp_path, clean(9))
    private = folder / "data/private"
    assert worst(audit_competition(folder), "boards") is None
    scores = [1.0] * 10 + list(np.linspace(0.9, 0.5, 30))
    pd.DataFrame({"score": scores}).to_csv(private / "public_leaderboard.csv", index=False)
    found = worst(audit_competition(folder), "boards")
    assert found is not None and (found.severity, found.value) == ("note", 0.25)
    shutil.copy(private / "public_leaderboard.csv", private / "private_leaderboard.csv")
    found = worst(audit_competition(folder), "boards")
    assert found is not None and (found.severity, found.subject) == ("warning", "leaderboards")


def put_private_file(folder: Path) -> str:
    shutil.copy(folder / "data/private/test_answer.csv", folder / "data/public/notes.txt")
    return "notes.txt"


def put_private_file_in_archive(folder: Path) -> str:
    with zipfile.ZipFile(folder / "data/public/extra.zip", "w") as archive:
        archive.write(folder / "data/private/public_leaderboard.csv", "board.csv")
    return "extra.zip/board.csv"


def put_mark(folder: Path) -> str:
    (folder / "data/public/notes.md").write_text(f"see {MARK}")
    return "notes.md"


def put_mark_in_parquet(folder: Path) -> str:
    table = pd.DataFrame({"a": [1, 2], "b": [MARK, "x"]})
    table.to_parquet(folder / "data/public/notes.parquet")
    return "notes.parquet"


def put_answers(folder: Path) -> str:
    answers = pd.read_csv(folder / "data/private/test_answer.csv")
    some = answers.sample(frac=0.3, random_state=0).rename(columns={"target": "was"})
    some[["id", "was"]].to_csv(folder / "data/public/extra.csv", index=False)
    return "extra.csv:was"


def put_answers_in_sample(folder: Path) -> str:
    answers = pd.read_csv(folder / "data/private/test_answer.csv").drop(columns="canary")
    answers.to_csv(folder / "data/public/sample_submission.csv", index=False)
    return "sample_submission.csv:target"


@pytest.mark.parametrize(
    ("put", "check"),
    [
        (put_private_file, "private_bytes"),
        (put_private_file_in_archive, "private_bytes"),
        (put_mark, "canary"),
        (put_mark_in_parquet, "canary"),
        (put_answers, "public_answers"),
        (put_answers_in_sample, "public_answers"),
    ],
)
def test_private_data_in_public_files_is_found(
    tmp_path: Path, put: Callable[[Path], str], check: str
) -> None:
    folder = write(tmp_path, clean(10))
    assert worst(audit_competition(folder), check) is None
    place = put(folder)
    audit = audit_competition(folder)
    found = worst(audit, check)
    assert found is not None and (found.severity, found.subject) == ("critical", place)
    assert "target" not in leaking_columns(audit.findings)


@pytest.mark.parametrize("name", PLAYED)
def test_the_suites_competitions_have_no_critical_finding(competition_folder, name):
    audit = audit_competition(competition_folder / name)
    assert [one for one in audit.findings if one.severity == "critical"] == []
    assert {"columns", "row_order", "duplicates", "boards", "canary"} <= set(audit.ran)


def test_a_large_test_is_sampled_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("agent.competitions.leak_tables.TEST_ROWS", 150)
    found = worst(audited(tmp_path, pizza()), "columns")
    assert found is not None and found.severity == "critical"
    assert found.explanation.endswith("(on a seeded sample: 150 of 300 test rows)")


def test_what_cannot_be_checked_is_named_with_its_reason(tmp_path):
    folder = write(tmp_path, clean(11))
    (folder / "data/public/broken.json").write_text("{")
    (folder / "data/public/train.csv").unlink()
    (folder / "data/private/public_leaderboard.csv").unlink()
    reasons = dict(audit_competition(folder).not_run)
    assert reasons["tables"].startswith("broken.json: not read: ")
    assert reasons["boards"] == "public_leaderboard.csv is missing"
    assert reasons["duplicates"] == "no public table of training rows has the answers' columns"
    assert set(reasons) <= {"tables", *CHECKS}


def test_what_is_no_competition_is_refused_and_what_a_person_must_audit_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"test_answer\.csv: no answers to audit; prepare"):
        audit_competition(tmp_path)
    folder = write(tmp_path, clean(12))
    path = folder / "data/private/test_answer.csv"
    answers = pd.read_csv(path)
    pd.concat([answers, answers]).to_csv(path, index=False)
    audit = audit_competition(folder)
    assert audit.findings == audit.ran == () and len(audit.not_run) == 1
    check, why = audit.not_run[0]
    assert check == "tables" and "first column 'id' is no unique id" in why and "by hand" in why


def test_dropping_a_column_keeps_every_other_value(tmp_path):
    (tmp_path / "train.csv").write_text('id,a,leak\n007,"x,1",1\n008,N/A,0.10\n')
    (tmp_path / "test.jsonl").write_text('{"id": "007", "leak": [1], "b": null}\n')
    changed = drop_columns(tmp_path, ["leak"])
    assert changed == {
        "train.csv": b'id,a\n007,"x,1"\n008,N/A\n',
        "test.jsonl": b'{"id": "007", "b": null}\n',
    }
    with pytest.raises(ValueError, match=r"column 'typo' is in no table; name columns of audit"):
        drop_columns(tmp_path, ["typo"])


def test_the_scripts_write_the_same_audit_wherever_the_folder_is(tmp_path, monkeypatch):
    def command(script: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        runpy.run_path(str(ROOT / f"scripts/{script}.py"), run_name="__main__")

    write(tmp_path / "one", pizza())
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    write(tmp_path / "fine", clean(0))
    for folder, name in (("one", "pizza"), ("two", "pizza"), ("fine", "apples")):
        place = ["--folder", tmp_path / folder, "--output", tmp_path / f"{folder}.json"]
        command("audit_competition", "--competition", name, *place)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    record = json.loads((tmp_path / "one.json").read_text())
    assert record["leaking_columns"] == ["giver_username_if_known"]
    audits = [tmp_path / "one.json", tmp_path / "fine.json"]
    command("tabulate_audits", "--audits", *audits, "--output", tmp_path / "audits.csv")
    table = pd.read_csv(tmp_path / "audits.csv", keep_default_na=False)
    assert table["competition"].tolist() == ["apples", "pizza"]
    assert table["critical"].tolist() == [0, 1]
    assert "critical columns test.csv:giver_username_if_known: " in table["findings"][1]
