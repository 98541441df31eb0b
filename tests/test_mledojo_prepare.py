"""Competitions of MLE-Dojo become folders that open and grade, or one line says why not."""

import http.server
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import kaggle_archive as archives
import numpy as np
import pandas as pd
import pytest
from checkout import ROOT, run
from kaggle_archive import MeanError, catalogue_entry, write_checkout, write_zip

from agent.competitions.catalogue import COLUMNS, CatalogueEntry, row_of
from agent.competitions.kaggle_folder import (
    Upstream,
    feedback_ids,
    id_column,
    prepare_kaggle_competition,
    task_type,
)
from agent.competitions.kaggle_source import RawSource
from agent.competitions.kaggle_token import authorization
from agent.competitions.loading import load_competition
from agent.core.competition import Half
from agent.core.environment import grade
from agent.wrappers.mledojo_metrics import load_metric
from agent.wrappers.mledojo_prepare import check_prepare, dsbench_address, run_prepare, title_of

CHECKOUT = Path(os.environ.get("MLE_DOJO_CHECKOUT", ROOT / "MLE-Dojo/checkout")).absolute()
needs_checkout = pytest.mark.skipif(
    not CHECKOUT.is_dir(), reason="no MLE-Dojo checkout; MLE_DOJO_CHECKOUT may name one"
)
HALVES: tuple[Half, ...] = ("feedback", "final", "both")
COMMIT = "0" * 40


@pytest.fixture(autouse=True)
def quiet_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy between a test and its own server, no repository around a made-up one."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in (
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "KAGGLE_USERNAME",
        "KAGGLE_KEY",
        "KAGGLE_API_TOKEN",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    write_checkout(folder, "toy")
    return folder


def source(tmp_path: Path, archive: Path | None = None, **changes: Any) -> RawSource:
    plain = RawSource(archive, "http://127.0.0.1:1/data.zip", {}, tmp_path / "home")
    return replace(plain, **changes)


def prepare(
    checkout: Path,
    given: RawSource,
    output: Path,
    entry: CatalogueEntry | None = None,
    metric: MeanError | None = None,
    drop_leaks: bool = False,
) -> dict[str, Any]:
    upstream = Upstream(
        checkout, COMMIT, "Toy", partial(run_prepare, checkout, "toy"), metric or MeanError()
    )
    return prepare_kaggle_competition(
        entry or catalogue_entry("toy"), upstream, given, output, drop_leaks=drop_leaks
    )


@pytest.fixture(scope="module")
def toy(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(checkout, source(folder, archives.made_up(folder / "toy.zip")), folder / "out/toy")
    return folder / "out/toy"


def facts_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "competition.json").read_text())


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "data" / name, dtype=str)


def check_grades(folder: Path, metric: Any) -> None:
    """The sample submission is graded on all answers and on either half."""
    sample = (folder / "data/public/sample_submission.csv").read_bytes()
    for half in HALVES:
        raw, position = grade(load_competition(folder, half, lambda facts: metric), sample)
        assert np.isfinite(raw) and 0 <= position <= 1


def check_halves(folder: Path) -> None:
    """Disjoint, complete, verbatim, of equal size, every line with the mark."""
    facts = facts_of(folder)
    whole = table(folder, "private/test_answer.csv")
    parts = [table(folder, f"private/{half}_answer.csv") for half in ("feedback", "final")]
    for part in parts:
        assert (part.pop("canary") == facts["canary"]).all()
    key = facts["id_column"]
    assert not set(parts[0][key]) & set(parts[1][key])
    assert len(parts[1]) - len(parts[0]) in (0, 1)
    both = pd.concat(parts).set_index(key).loc[whole[key]].reset_index()
    pd.testing.assert_frame_equal(both, whole)


def test_a_prepared_competition_has_upstreams_files_and_opens(toy: Path) -> None:
    assert sorted(contents(toy)) == [
        "competition.json",
        "data/private/feedback_answer.csv",
        "data/private/final_answer.csv",
        "data/private/private_leaderboard.csv",
        "data/private/public_leaderboard.csv",
        "data/private/test_answer.csv",
        "data/public/description.txt",
        "data/public/sample_submission.csv",
        "data/public/test.csv",
        "data/public/train.csv",
    ]
    assert [path.name for path in toy.parent.iterdir()] == ["toy"]
    check_halves(toy)
    check_grades(toy, MeanError())


def test_the_facts_say_where_it_comes_from_and_what_is_in_it(toy: Path, checkout: Path) -> None:
    facts = facts_of(toy)
    assert facts["files"].keys() == {
        path
        for path in contents(toy)
        if "private" in path or path.endswith(("description.txt", "sample_submission.csv"))
    }
    assert facts["public_bytes"] == {
        path: len(content) for path, content in contents(toy).items() if "public/" in path
    }
    assert (facts["group"], facts["task_type"], facts["id_column"]) == ("train", "Tabular", "key")
    assert facts["sample_submission"] == "valid" and "halves" not in facts
    assert facts["mle_dojo_checkout"] == str(checkout) and len(facts["archive"]) == 64


def test_the_answers_stay_as_upstream_wrote_them(toy: Path) -> None:
    keys = table(toy, "private/test_answer.csv")["key"]
    assert keys.iloc[0] == "01000" and (keys.str.len() == 5).all()


def test_a_folder_of_files_serves_as_well_and_preparing_twice_gives_the_same(
    toy: Path, checkout: Path, tmp_path: Path
) -> None:
    archives.made_up(tmp_path / "toy.zip")
    files = tmp_path / "files"
    subprocess.run(["unzip", "-q", tmp_path / "toy.zip", "-d", files], check=True)
    prepare(checkout, source(tmp_path, files), tmp_path / "out/toy")
    again, first = contents(tmp_path / "out/toy"), contents(toy)
    facts, known = (json.loads(content.pop("competition.json")) for content in (again, first))
    assert again == first
    assert facts.pop("archive") != known.pop("archive") and facts == known
    assert [path.name for path in files.iterdir()] == ["train.csv.zip"]


def test_the_halves_depend_on_ids_and_name_alone() -> None:
    ids = pd.Series([f"row{number}" for number in range(101)])
    half = feedback_ids("toy", ids)
    assert len(half) == 50
    assert feedback_ids("toy", ids.sample(frac=1, random_state=1)) == half
    assert feedback_ids("toy", pd.concat([ids, ids])) == half
    assert feedback_ids("other", ids) != half


def test_the_id_is_the_first_column_of_the_sample_that_the_answers_have() -> None:
    answers = pd.DataFrame(columns=["y", "id"])
    assert id_column(pd.DataFrame(columns=["extra", "id", "y"]), answers) == "id"
    assert id_column(pd.DataFrame(columns=["extra"]), answers) == ""


def test_the_task_type_is_the_category_or_read_off_the_tags() -> None:
    entry = catalogue_entry("toy")
    assert task_type(replace(entry, category="CV")) == "CV"
    assert task_type(replace(entry, tags=("Image",))) == "CV"
    assert task_type(replace(entry, tags=("Astronomy",))) == "other"


PUBLIC_TEST = 'test.drop(columns="target")'
SAMPLE = "sample.to_csv"
UNSPLIT = {
    "key is not unique": (SAMPLE, "sample['key'] = 1; sample.to_csv", 0),
    "share no column": (SAMPLE, "sample.columns = ['a', 'b']; sample.to_csv", 0),
    "key has other values": (SAMPLE, "sample['key'] = range(len(sample)); sample.to_csv", 0),
    "refused on the feedback half: too few rows to be scored": (SAMPLE, SAMPLE, 15),
}


@pytest.mark.parametrize("reason", UNSPLIT)
def test_answers_that_cannot_be_split_stay_whole_and_the_reason_is_written_down(
    tmp_path: Path, reason: str
) -> None:
    old, new, limit = UNSPLIT[reason]
    write_checkout(tmp_path / "checkout", "toy", archives.PREPARE.replace(old, new))
    given = source(tmp_path, archives.made_up(tmp_path / "toy.zip"))
    facts = prepare(tmp_path / "checkout", given, tmp_path / "toy", metric=MeanError(limit))
    assert pd.Series([facts["halves"]]).str.contains(reason).all(), facts["halves"]
    private = {path.name for path in (tmp_path / "toy/data/private").iterdir()}
    assert private == {"private_leaderboard.csv", "public_leaderboard.csv", "test_answer.csv"}
    load_competition(tmp_path / "toy", "both", lambda facts: MeanError())


def test_a_sample_submission_that_holds_the_answers_is_noted(tmp_path: Path) -> None:
    leaky = archives.PREPARE.replace("target=np.random.random(len(test))", "target=test['target']")
    write_checkout(tmp_path / "checkout", "toy", leaky)
    given = source(tmp_path, archives.made_up(tmp_path / "toy.zip"))
    facts = prepare(tmp_path / "checkout", given, tmp_path / "toy")
    assert facts["sample_submission"] == "the answers themselves"


@pytest.mark.parametrize("drop", [False, True])
def test_columns_that_give_the_answers_away_are_left_out_when_asked(
    tmp_path: Path, drop: bool
) -> None:
    told = archives.PREPARE.replace(
        'test.drop(columns="target")', 'test.rename(columns={"target": "told"})'
    ).replace("rows.iloc[1::2].to_csv", "rows.iloc[1::2].assign(told=rows['target']).to_csv")
    write_checkout(tmp_path / "checkout", "toy", told)
    given = source(tmp_path, archives.made_up(tmp_path / "toy.zip", rows=200))
    facts = prepare(tmp_path / "checkout", given, tmp_path / "toy", drop_leaks=drop)
    assert facts.get("dropped_columns", []) == (["told"] if drop else [])
    public = tmp_path / "toy/data/public"
    for name in ("train.csv", "test.csv"):
        assert ("told" in pd.read_csv(public / name)) is not drop
        size = (public / name).stat().st_size
        assert facts["public_bytes"][f"data/public/{name}"] == size
    assert json.loads((tmp_path / "toy/competition.json").read_text()) == facts


def test_a_competition_prepared_before_is_replaced_whole(checkout: Path, tmp_path: Path) -> None:
    old = tmp_path / "out/toy"
    old.mkdir(parents=True)
    (old / "competition.json").write_text("{}")
    (old / "left_over.txt").write_text("x")
    prepare(checkout, source(tmp_path, archives.made_up(tmp_path / "toy.zip")), old)
    assert "left_over.txt" not in contents(old) and list(old.parent.iterdir()) == [old]


def test_another_folder_is_never_replaced(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/precious").write_text("x")
    with pytest.raises(ValueError, match="home is not empty: remove it"):
        prepare(checkout, source(tmp_path), tmp_path / "home")
    assert contents(tmp_path / "home") == {"precious": b"x"}


def damaged(folder: Path) -> Path:
    archive = archives.made_up(folder / "toy.zip")
    content = bytearray(archive.read_bytes())
    content[60] ^= 0xFF
    archive.write_bytes(content)
    return archive


def cut(folder: Path) -> Path:
    archive = archives.made_up(folder / "toy.zip")
    archive.write_bytes(archive.read_bytes()[:200])
    return archive


def member(name: str) -> Callable[[Path], Path]:
    return lambda folder: write_zip(folder / "toy.zip", {"fine.csv": "x", name: "x"})


ARCHIVES: dict[str, Callable[[Path], Path]] = {
    r"toy\.zip: damaged, or no zip: Bad CRC.*; download it again": damaged,
    r"toy\.zip: damaged, or no zip: File is not a zip": cut,
    r"toy\.zip: '\.\./evil\.csv' is a link, .*leads out": member("../evil.csv"),
    r"toy\.zip: 'a\\\\\.\.\\\\evil\.csv' .*leads out": member("a\\..\\evil.csv"),
    r"toy\.zip: '/evil\.csv' .*leads out": member("/evil.csv"),
    r"--archive .*none\.zip: no such file": lambda folder: folder / "none.zip",
    r"prepare script crashed: FileNotFoundError: .*'train\.csv'": member("other.csv"),
}


@pytest.mark.parametrize("message", ARCHIVES)
def test_a_wrong_archive_is_named_and_changes_nothing(
    checkout: Path, toy: Path, tmp_path: Path, message: str
) -> None:
    given = source(tmp_path, ARCHIVES[message](tmp_path))
    with pytest.raises((ValueError, OSError, RuntimeError), match=message):
        prepare(checkout, given, tmp_path / "new/toy")
    assert list((tmp_path / "new").iterdir()) == []
    before = contents(toy)
    with pytest.raises((ValueError, OSError, RuntimeError), match=message):
        prepare(checkout, given, toy)
    assert contents(toy) == before and list(toy.parent.iterdir()) == [toy]
    assert not list(tmp_path.rglob("evil.csv"))


@pytest.mark.parametrize("free", [1_000_000, 2_000_000])
def test_a_disk_too_small_is_told_before_anything_is_written(
    checkout: Path, tmp_path: Path, free: int
) -> None:
    archive = archives.made_up(tmp_path / "toy.zip")
    small = source(tmp_path, archive, free=lambda folder: free)
    with pytest.raises(OSError, match=r"out: 3\.0 MB are needed and \d\.0 MB free: make room"):
        prepare(checkout, small, tmp_path / "out/toy")
    with pytest.raises(OSError, match=r"out: 4\.5 MB are needed"):
        prepare(checkout, replace(small, archive=None), tmp_path / "out/toy")
    unstated = replace(catalogue_entry("toy"), size_mb=None)
    with pytest.raises(OSError, match=r"out: .* MB are needed and 0\.0 MB free"):
        prepare(
            checkout, replace(small, free=lambda folder: 1), tmp_path / "out/toy", entry=unstated
        )
    assert list((tmp_path / "out").iterdir()) == []


SCRIPTS = {
    r"prepare\.py: no prepare script: MLE-Dojo cannot prepare toy": "# nothing yet\n",
    "toy: MLE-Dojo's prepare script needs the Python module py8zr": "import py8zr\n",
    "toy: MLE-Dojo's prepare script crashed: .*loaded by nobody": "raise ValueError('loaded by "
    "nobody')\n",
    r"prepare\.py: needs the command gunzip: install it": "import os\nTOOL = 'gunzip'\n",
}


@pytest.mark.parametrize("message", SCRIPTS)
def test_a_prepare_script_that_cannot_be_loaded_is_named(
    tmp_path: Path, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "" if "no prepare" in message else "\ndef prepare(raw, public, private): ...\n"
    write_checkout(tmp_path, "toy", SCRIPTS[message] + body)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises((ValueError, RuntimeError), match=message):
        check_prepare(tmp_path, "toy")


CRASHES = {
    "toy: MLE-Dojo's prepare script crashed: AssertionError: 39 rows": "assert False, '39 rows'",
    "needs the Python module py8zr": "import py8zr",
    "prepare script was ended by signal 9; its last line: splitting 3": "import os, signal; "
    "print('splitting 3', flush=True); os.kill(os.getpid(), signal.SIGKILL)",
    r"wrote no sample_submission\.csv, its last words: 'no train\.csv'": "print('no train.csv')",
}


@pytest.mark.parametrize("message", CRASHES)
def test_a_prepare_script_that_fails_is_quoted(
    tmp_path: Path, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    body = f"def prepare(raw, public, private):\n    print('begun')\n    {CRASHES[message]}\n"
    write_checkout(tmp_path / "checkout", "toy", body)
    given = source(tmp_path, archives.made_up(tmp_path / "toy.zip"))
    with pytest.raises(RuntimeError, match=message):
        prepare(tmp_path / "checkout", given, tmp_path / "out/toy")
    assert "begun\n" in capfd.readouterr().out
    assert list((tmp_path / "out").iterdir()) == []


def test_a_path_that_a_shell_would_split_is_refused(checkout: Path, tmp_path: Path) -> None:
    given = source(tmp_path, archives.made_up(tmp_path / "toy.zip"))
    with pytest.raises(ValueError, match="unquoted: prepare into a folder without blanks"):
        prepare(checkout, given, tmp_path / "my results/toy")


def test_the_child_is_not_told_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    body = "import os\ndef prepare(raw, public, private):\n    print(dict(os.environ))\n    1 / 0\n"
    write_checkout(tmp_path / "checkout", "toy", body)
    given = source(tmp_path, archives.made_up(tmp_path / "toy.zip"))
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        prepare(tmp_path / "checkout", given, tmp_path / "toy")
    printed = capfd.readouterr().out
    assert "PYTHONPATH" in printed and "secret" not in printed


class Kaggle(http.server.BaseHTTPRequestHandler):
    """Redirects a download to a store, as Kaggle does, or refuses it."""

    archive = b""
    refusal = 0
    short = False
    asked: list[tuple[str, str | None]]  # path and token of every request

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        if self.refusal:
            self.send_error(self.refusal)
        elif self.path.startswith("/api"):
            self.send_response(302)
            self.send_header("Location", f"http://{self.headers['Host']}/store/data.zip")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.archive)))
            self.end_headers()
            self.wfile.write(self.archive[: 50 if self.short else None])

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def kaggle(tmp_path: Path) -> Iterator[tuple[type[Kaggle], RawSource]]:
    content = archives.made_up(tmp_path / "server.zip").read_bytes()
    handler = type("Handler", (Kaggle,), {"archive": content, "asked": []})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        token = {"KAGGLE_USERNAME": "ada", "KAGGLE_KEY": "secret"}
        yield (
            handler,
            source(
                tmp_path,
                dsbench=f"{address}/store/data.zip",
                environment=token,
                kaggle=f"{address}/api/v1",
            ),
        )
        server.shutdown()
        thread.join()


def test_a_download_gives_what_the_archive_gives(
    checkout: Path, toy: Path, tmp_path: Path, kaggle: tuple[type[Kaggle], RawSource]
) -> None:
    prepare(checkout, kaggle[1], tmp_path / "out/toy")
    assert contents(tmp_path / "out/toy") == contents(toy)
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out/toy"]


def test_the_token_is_told_to_kaggle_alone(
    checkout: Path, tmp_path: Path, kaggle: tuple[type[Kaggle], RawSource]
) -> None:
    (tmp_path / "home/.kaggle").mkdir(parents=True)
    file = tmp_path / "home/.kaggle/kaggle.json"
    file.write_text('{"username": "ada", "key": "secret"}')
    prepare(checkout, replace(kaggle[1], environment={}), tmp_path / "toy")
    assert kaggle[0].asked == [
        ("/api/v1/competitions/data/download-all/toy", "Basic YWRhOnNlY3JldA=="),
        ("/store/data.zip", None),
    ]


def test_tokens_of_both_kinds_are_found_where_kaggle_looks(tmp_path: Path) -> None:
    old = {"KAGGLE_USERNAME": "ada", "KAGGLE_KEY": "secret"}
    assert authorization(old | {"KAGGLE_API_TOKEN": "KGAT_1"}, tmp_path) == "Bearer KGAT_1"
    assert authorization(old, tmp_path) == "Basic YWRhOnNlY3JldA=="
    (tmp_path / "kaggle.json").write_text('{"username": "ada", "key": "secret"}')
    elsewhere = {"KAGGLE_CONFIG_DIR": str(tmp_path)}
    assert authorization(elsewhere, tmp_path / "home") == "Basic YWRhOnNlY3JldA=="
    (tmp_path / "access_token").write_text("KGAT_2\n")
    assert authorization(elsewhere, tmp_path / "home") == "Bearer KGAT_2"


REFUSALS = {
    401: "Kaggle does not know this token: make a new one at https://www.kaggle.com/settings",
    403: "accept the competition's rules at https://www.kaggle.com/competitions/toy/rules",
    500: "download-all/toy: HTTP 500: try again later, or download the archive by hand",
}


@pytest.mark.parametrize("status", REFUSALS)
def test_what_kaggle_refuses_is_told_with_a_remedy(
    checkout: Path, tmp_path: Path, kaggle: tuple[type[Kaggle], RawSource], status: int
) -> None:
    kaggle[0].refusal = status
    with pytest.raises(PermissionError, match=REFUSALS[status]) as refused:
        prepare(checkout, kaggle[1], tmp_path / "out/toy")
    assert "secret" not in str(refused.value) and list((tmp_path / "out").iterdir()) == []


def test_a_download_that_ends_early_or_does_not_fit_is_no_archive(
    checkout: Path, tmp_path: Path, kaggle: tuple[type[Kaggle], RawSource]
) -> None:
    entry = replace(catalogue_entry("toy"), size_mb=None)
    full = replace(kaggle[1], free=lambda folder: 100)
    with pytest.raises(OSError, match=r"MB are needed and 0\.0 MB free"):
        prepare(checkout, full, tmp_path / "out/toy", entry=entry)
    kaggle[0].short = True
    with pytest.raises(ConnectionError, match="ended early: check the network"):
        prepare(checkout, kaggle[1], tmp_path / "out/toy")
    assert list((tmp_path / "out").iterdir()) == []


def test_no_network_and_no_token_are_told_apart(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"toy: .*access_token: no Kaggle token: create one .*by hand"
    ):
        prepare(checkout, source(tmp_path), tmp_path / "out/toy")
    token = {"KAGGLE_USERNAME": "ada", "KAGGLE_KEY": "secret"}
    alone = source(tmp_path, environment=token, kaggle="http://127.0.0.1:1")
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1: cannot be reached .*refused"):
        prepare(checkout, alone, tmp_path / "out/toy")
    (tmp_path / "home/.kaggle").mkdir(parents=True)
    (tmp_path / "home/.kaggle/kaggle.json").write_text('{"username": "ada"}')
    with pytest.raises(ValueError, match=r"kaggle\.json: holds no username and key"):
        prepare(checkout, source(tmp_path), tmp_path / "out/toy")


class Accuracy(MeanError):
    def evaluate(self, answers: pd.DataFrame, submission: pd.DataFrame) -> float:
        key, target = submission.columns
        both = answers.merge(submission, on=key)
        return float((both[f"{target}_x"] == both[f"{target}_y"]).mean())


def prepare_dsbench(folder: Path, slug: str, given: RawSource) -> Path:
    def never(raw: Path, public: Path, private: Path) -> None:
        raise AssertionError("a DSBench task has no prepare script")

    write_checkout(folder / "checkout", slug)
    upstream = Upstream(folder / "checkout", COMMIT, slug, never, Accuracy())
    entry = catalogue_entry(slug, "dsbench")
    prepare_kaggle_competition(entry, upstream, given, folder / "out" / slug)
    return folder / "out" / slug


@pytest.mark.parametrize("slug", archives.SAMPLE_NAMES)
def test_a_dsbench_task_is_laid_out_from_the_common_archive(
    tmp_path: Path, slug: str, kaggle: tuple[type[Kaggle], RawSource]
) -> None:
    kaggle[0].archive = archives.dsbench(tmp_path / "data.zip").read_bytes()
    folder = prepare_dsbench(tmp_path, slug, kaggle[1])
    assert kaggle[0].asked == [("/store/data.zip", None)]
    members = archives.dsbench_members(slug)
    given = {Path(name).name: text.encode() for name, text in members.items()}
    made = {Path(name).name: content for name, content in contents(folder).items()}
    for name in ("train.csv", "test.csv", "test_answer.csv"):
        assert made[name] == given[name]
    assert made["description.txt"] == given[f"{slug}.txt"]
    sample = pd.read_csv(folder / "data/public/sample_submission.csv")
    answers = pd.read_csv(folder / "data/private/test_answer.csv")
    assert sample.iloc[:, 0].equals(answers.iloc[:, 0]) and sample.iloc[:, 1].nunique() == 1
    check_halves(folder)
    check_grades(folder, Accuracy())


def test_a_dsbench_archive_may_be_unpacked_and_must_hold_the_task(tmp_path: Path) -> None:
    archive = archives.dsbench(tmp_path / "data.zip")
    subprocess.run(["unzip", "-q", archive, "-d", tmp_path / "files"], check=True)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = prepare_dsbench(tmp_path / "a", "titanic", source(tmp_path, archive))
    other = prepare_dsbench(tmp_path / "b", "titanic", source(tmp_path, tmp_path / "files"))
    assert contents(one / "data") == contents(other / "data")
    empty = write_zip(tmp_path / "empty.zip", {"data/x": "x"})
    with pytest.raises(ValueError, match=r"no data_resplit/titanic/train\.csv in the archive: is"):
        prepare_dsbench(tmp_path / "a/again", "titanic", source(tmp_path, empty))


def test_the_address_of_dsbench_and_the_title_are_the_checkouts(
    checkout: Path, tmp_path: Path
) -> None:
    assert dsbench_address(checkout) == "http://127.0.0.1:1/data.zip"
    assert title_of(checkout, "toy") == "A Made-Up Competition"
    assert title_of(checkout, "unheard-of") == "unheard-of"
    with pytest.raises(ValueError, match=r"dsbench\.py: names no DSBench archive"):
        dsbench_address(tmp_path)


def write_catalogue(path: Path, entry: CatalogueEntry) -> Path:
    path.write_text(pd.DataFrame([row_of(entry)], columns=list(COLUMNS)).to_csv(index=False))
    return path


def script(folder: Path, *options: object, slug: str = "toy") -> subprocess.CompletedProcess[str]:
    place = ["--competition", slug, "--output-dir", folder / "out" / slug, *options]
    return run(ROOT, "python", "scripts/prepare_mle_dojo_competition.py", *map(str, place))


def test_the_command_prepares_and_logs_what_upstream_prints(tmp_path: Path) -> None:
    commit = write_checkout(tmp_path / "checkout", "toy")
    catalogue = write_catalogue(tmp_path / "catalogue.csv", catalogue_entry("toy"))
    place = ["--checkout-dir", tmp_path / "checkout", "--catalogue", catalogue]
    archive = ["--archive", archives.made_up(tmp_path / "toy.zip")]
    done = script(tmp_path, *place, "--commit", commit, *archive)
    assert done.returncode == 0, done.stderr
    assert "splitting 40 rows\n" in done.stdout and "sample submission: valid" in done.stdout
    check_halves(tmp_path / "out/toy")
    other = script(tmp_path, *place, "--commit", COMMIT, *archive)
    assert other.returncode == 1 and other.stderr.startswith(f"error: {tmp_path / 'checkout'}: is")


def test_a_metric_that_cannot_be_loaded_stops_before_the_download(tmp_path: Path) -> None:
    commit = write_checkout(tmp_path / "checkout", "toy", metric="import py8zr\n")
    catalogue = write_catalogue(tmp_path / "catalogue.csv", catalogue_entry("toy"))
    place = ["--checkout-dir", tmp_path / "checkout", "--catalogue", catalogue]
    done = script(tmp_path, *place, "--commit", commit, "--kaggle-url", "http://127.0.0.1:1")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "toy: MLE-Dojo's metric cannot be loaded: " in done.stderr and "py8zr" in done.stderr
    assert not (tmp_path / "out").exists()


REAL: dict[str, Callable[[Path], Path]] = {
    "GiveMeSomeCredit": archives.give_me_some_credit,
    "home-data-for-ml-course": archives.home_data,
    "poker-rule-induction": archives.poker,
    "nomad2018-predict-transparent-conductors": archives.nomad2018,
    "titanic": archives.dsbench,
    "tabular-playground-series-sep-2021": archives.dsbench,
}


def head() -> str:
    done = ["git", "rev-parse", "HEAD"]
    return subprocess.run(done, cwd=CHECKOUT, capture_output=True, text=True).stdout.strip()


@needs_checkout
@pytest.mark.parametrize("slug", REAL)
def test_a_real_competition_is_prepared_by_upstreams_own_script(tmp_path: Path, slug: str) -> None:
    if slug.startswith("nomad") and importlib.util.find_spec("py7zr") is None:
        pytest.skip("its prepare script needs py7zr")
    archive = REAL[slug](tmp_path / "archive.zip")
    options = ["--checkout-dir", CHECKOUT, "--commit", head(), "--archive", archive]
    done = script(tmp_path, *options, slug=slug)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "out" / slug
    assert facts_of(folder)["sample_submission"] == "valid"
    check_halves(folder)
    check_grades(folder, load_metric(CHECKOUT, slug))


@needs_checkout
def test_a_script_that_draws_without_a_seed_gives_the_same_twice(tmp_path: Path) -> None:
    slug = "home-data-for-ml-course"
    archive = REAL[slug](tmp_path / "archive.zip")
    options = ["--checkout-dir", CHECKOUT, "--commit", head(), "--archive", archive]
    for folder in (tmp_path / "one", tmp_path / "two"):
        assert script(folder, *options, slug=slug).returncode == 0
    assert contents(tmp_path / "one/out") == contents(tmp_path / "two/out")


@needs_checkout
def test_a_dsbench_task_is_what_upstreams_script_makes_of_it(tmp_path: Path) -> None:
    """But for the row that the sample submission repeats, which upstream draws without a seed."""
    archive = archives.dsbench(tmp_path / "data.zip")
    program = (
        "import sys, types; sys.modules['wget'] = types.ModuleType('wget')\n"
        "sys.path.insert(0, 'prepare'); import dsbench\n"
        "dsbench.download_and_extract_data = lambda folder: None\n"
        f"sys.argv[1:] = ['--raw-dir', {str(tmp_path / 'raw')!r}, "
        f"'--prepared-dir', {str(tmp_path / 'theirs')!r}]\n"
        "dsbench.main()\n"
    )
    subprocess.run(["unzip", "-q", archive, "-d", tmp_path / "raw"], check=True)
    upstream = [sys.executable, "-B", "-c", program]
    subprocess.run(upstream, cwd=CHECKOUT, check=True, capture_output=True)
    for slug in archives.SAMPLE_NAMES:
        options = ["--checkout-dir", CHECKOUT, "--commit", head(), "--archive", archive]
        assert script(tmp_path, *options, slug=slug).returncode == 0
        ours, theirs = contents(tmp_path / "out" / slug), contents(tmp_path / "theirs" / slug)
        samples = [files.pop("data/public/sample_submission.csv") for files in (ours, theirs)]
        assert theirs.items() <= ours.items()
        first, second = (sample.decode().splitlines() for sample in samples)
        assert [line.split(",")[0] for line in first] == [line.split(",")[0] for line in second]
