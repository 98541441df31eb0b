"""Public files that are too large to be copied for every program: seen in place, never changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sandboxes import LIMITS

from agent.sandbox.opening import COPIED_BYTES, large_entries
from agent.sandbox.runner import WarmRunner
from agent.sandbox.tiers import TIERS

CONFINED = [tier for tier in TIERS if tier != "limits"]


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("competition") / "data/public"
    (folder / "images/train").mkdir(parents=True)
    (folder / "train.csv").write_text("id,target\n0,2.5\n")
    (folder / "big.csv").write_text("id,x\n" + "0,1\n" * (COPIED_BYTES // 4))
    for number in range(2):
        image = folder / f"images/train/{number}.bin"
        with image.open("wb") as file:
            file.truncate(COPIED_BYTES // 2 + 1)
    (folder.parent / "private").mkdir()
    (folder.parent / "private/test_answer.csv").write_text("id,target\n1,4.5\n")
    return folder


@pytest.fixture(scope="module", params=CONFINED)
def runner(request, public: Path) -> Iterator[WarmRunner]:
    shared = large_entries(public)
    with WarmRunner(LIMITS, [], shared, request.param, strongest=request.param) as warm:
        try:
            warm.wait_until_ready()
        except RuntimeError as refused:
            pytest.skip(str(refused))
        yield warm


def test_what_is_large_is_found_with_all_it_holds(public):
    assert [path.name for path in large_entries(public)] == ["big.csv", "images"]


def test_a_program_reads_all_public_files_by_their_names(runner, public):
    run = runner.run(
        "import os\n"
        "print(sorted(os.listdir()), len(open('big.csv').read()), open('train.csv').read()[:2])\n"
        "print(os.path.getsize('images/train/1.bin'), os.listdir('images'))",
        public,
    )
    assert run.outcome == "ok" and run.attempts == ()
    size = (public / "big.csv").stat().st_size
    assert run.output.splitlines() == [
        f"['big.csv', 'images', 'train.csv'] {size} id",
        f"{COPIED_BYTES // 2 + 1} ['train']",
    ]


@pytest.mark.parametrize(
    "change",
    [
        "open('big.csv', 'a').write('x')",
        "import os; os.truncate('big.csv', 0)",
        "import os; os.chmod(os.path.realpath('big.csv'), 0o666); open('big.csv', 'w')",
        "import os; os.remove(os.path.realpath('big.csv'))",
        "import os; os.rename(os.path.realpath('images/train'), 'mine')",
        "open('images/train/2.bin', 'w').write('x')",
    ],
)
def test_no_program_changes_them(runner, public, change):
    before = {path: path.stat() for path in public.rglob("*")}
    run = runner.run(change, public)
    assert run.outcome == "crashed" and run.error in {"OSError", "PermissionError"}
    after = {path: path.stat() for path in public.rglob("*")}
    assert {path: facts[:9] for path, facts in after.items()} == {
        path: facts[:9] for path, facts in before.items()
    }


def test_what_lies_beside_them_stays_hidden(runner, public):
    run = runner.run(
        "import os\n"
        "folder = os.path.dirname(os.path.dirname(os.path.realpath('big.csv')))\n"
        "open(os.path.join(folder, 'private/test_answer.csv'))",
        public,
    )
    assert run.outcome == "crashed" and run.error in {"FileNotFoundError", "PermissionError"}


def test_a_program_of_another_competition_gets_no_links(runner, tmp_path):
    (tmp_path / "train.csv").write_text("id\n0\n")
    run = runner.run("import os; print(os.listdir())", tmp_path)
    assert run.output.strip() == "['train.csv']"


def test_data_that_programs_may_not_read_are_refused_at_the_start(tmp_path):
    gone = tmp_path / "gone.csv"
    with WarmRunner(LIMITS, [], [gone]) as warm, pytest.raises(RuntimeError, match=r"gone\.csv"):
        warm.wait_until_ready()
