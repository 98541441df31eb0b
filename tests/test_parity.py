"""Our engine and MLE-Dojo's own environment give the same verdicts; planted differences are found.

What needs a checkout of MLE-Dojo (MLE_DOJO_CHECKOUT or MLE-Dojo/checkout) is skipped without one.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from parity import record
from parity.__main__ import find_checkout
from parity.engines import Verdict
from parity.worlds import EMBEDDED, WITH_PROGRAMS, directions, families, open_embedded

from agent.core.actions import Action
from agent.core.competition import Competition
from agent.core.environment import CompetitionEnvironment, grade
from agent.wrappers import mledojo_child
from agent.wrappers.mledojo_environment import UpstreamEnvironment, UpstreamLimits, _execution

CHECKOUT = find_checkout()
needs_checkout = pytest.mark.skipif(CHECKOUT is None, reason="no checkout of MLE-Dojo")
LIMITS = UpstreamLimits(20.0, None, 2)
SUBMIT = "import shutil\nshutil.copy('sample_submission.csv', 'submission.csv')\n"


def parity(checkout: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "parity"],
        cwd=ROOT,
        env=os.environ | {"MLE_DOJO_CHECKOUT": checkout, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_our_engine_judges_as_upstream_was_recorded_to():
    told = parity("")
    assert told["differences"] == 0 and told["live"] is False
    assert (told["metrics_loaded"], told["metrics_missing"]) == (0, len(families()))
    assert told["competitions"] >= 200 and told["cases"] >= 6000


@needs_checkout
def test_our_engine_judges_as_upstream_does_now():
    told = parity(str(CHECKOUT))
    assert told["differences"] == 0 and told["live"] is True
    assert told["metrics_loaded"] >= 200


@pytest.fixture(scope="module")
def recorded() -> dict[str, record.Entry]:
    return record.read()


def test_the_record_covers_every_kind_of_metric_in_both_directions(recorded):
    higher, theirs = directions(), [e for e in recorded.values() if e.source == "mle_dojo"]
    missing = {(f, higher[n]) for n, f in families().items()}
    missing -= {(e.family, e.higher_is_better) for e in theirs}
    assert missing <= {("Levenshtein Mean", False)}  # needs a package that is not everywhere
    assert {e.higher_is_better for e in theirs} == {True, False} and len(theirs) >= 195
    assert set(EMBEDDED) == {name for name, e in recorded.items() if e.source == "embedded"}
    assert sum(bool(entry.files) for entry in theirs) >= 100
    assert record.RECORD.stat().st_size < 1_500_000


def test_the_record_has_every_outcome(recorded):
    submitted = {v.status for entry in recorded.values() for v in entry.verdicts.values()}
    assert submitted == {"scored", "invalid", "unrankable"}
    for name in WITH_PROGRAMS:
        assert {verdict.status for verdict in recorded[name].programs.values()} == {
            *("scored", "invalid", "crashed", "timed_out", "no_submission"),
            *("validated", "answered", "refused"),
        }


def test_the_record_is_read_as_it_was_written(recorded, tmp_path):
    record.write(recorded.values(), tmp_path / "copy")
    assert record.read(tmp_path / "copy") == recorded
    assert (tmp_path / "copy").read_bytes() == record.RECORD.read_bytes()


def test_planted_differences_are_found(recorded):
    entry = recorded["titanic"]
    given = entry.verdicts["given"]
    assert given.raw is not None and given.position is not None
    assert record.misplaced(entry) == record.disagreements(entry) == []
    moved = replace(entry, verdicts=entry.verdicts | {"given": replace(given, position=0.5)})
    assert len(record.misplaced(moved)) == 1
    wrong = replace(entry, verdicts=entry.verdicts | {"given": replace(given, raw=given.raw / 2)})
    assert len(record.disagreements(wrong)) == 1
    for other in (Verdict("invalid", None, None), replace(given, raw=given.raw + 1e-6)):
        changed = entry.verdicts | {"given": other}
        assert len(record.differences("here", changed, entry.verdicts, 1e-9)) == 1
    fewer = {name: verdict for name, verdict in entry.verdicts.items() if name != "given"}
    assert len(record.differences("here", fewer, entry.verdicts)) == 1


def test_submissions_are_the_same_each_time_and_all_different():
    with open_embedded("engel-mae-outliers") as world, open_embedded("engel-mae-outliers") as again:
        assert world.submissions == again.submissions
        assert len(set(world.submissions.values())) >= 0.9 * len(world.submissions) > 25


@pytest.fixture(scope="module")
def competition() -> Iterator[Competition]:
    with open_embedded("engel-mae-outliers") as world:
        yield world.competition


@pytest.fixture
def upstream(competition) -> Iterator[UpstreamEnvironment]:
    assert CHECKOUT is not None
    with UpstreamEnvironment(competition, CHECKOUT, LIMITS, 2) as environment:
        yield environment


def test_a_competition_open_for_one_half_is_refused(competition, tmp_path):
    with pytest.raises(ValueError, match="open it for both"):
        UpstreamEnvironment(replace(competition, half="feedback"), tmp_path, LIMITS, 2)


def test_a_folder_without_mle_dojo_is_refused(competition, tmp_path):
    with pytest.raises(ValueError, match=r"mle_dojo\.checkout: .* holds no MLE-Dojo"):
        UpstreamEnvironment(competition, tmp_path, LIMITS, 2)


@pytest.mark.parametrize(
    ("code", "message"),
    [("import os\nos._exit(7)", "it said nothing"), ("import absent_package", "absent_package")],
)
def test_a_process_that_dies_is_told_in_one_line(competition, tmp_path, code, message):
    for package in ("mledojo", "mledojo/gym"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "mledojo/gym/env.py").write_text(code)
    (tmp_path / "mledojo/gym/competition.py").write_text("CompetitionRegistry = CompInfo = 0")
    with UpstreamEnvironment(competition, tmp_path, LIMITS, 2) as environment:
        assert environment.step(Action("request_info", "name")).outcome == "ok"  # starts nothing
        with pytest.raises(RuntimeError, match=message) as death:
            environment.step(Action("execute_code", SUBMIT))
        assert "\n" not in str(death.value) and "at start" in str(death.value)


class Unwritable:
    """An upstream environment that finds a result and then cannot write its history."""

    def __init__(self, results: mledojo_child.Results) -> None:
        self.results, self.resets = results, 0

    def step(self, action: str, code: str) -> None:
        if code != "nothing":
            self.results.append({"status": "SUCCESS"})
        raise TypeError("not serializable")

    def reset(self) -> None:
        self.resets += 1


def test_a_result_found_before_upstream_raised_counts(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", None)
    results: mledojo_child.Results = []
    environment = Unwritable(results)
    request = {"action": "execute_code", "folder": "/nowhere"}
    found = mledojo_child.step(environment, results, request | {"code": "pass"})
    assert found == {"result": {"status": "SUCCESS"}, "raised": "TypeError: not serializable"}
    nothing = mledojo_child.step(environment, results, request | {"code": "nothing"})
    assert nothing["result"] is None and environment.resets == 2


@pytest.mark.parametrize(
    ("seconds", "said", "outcome", "error"),
    [
        ("20.01s", "Execution failed: Process execution timed out after 20.0s", "timed_out", ""),
        ("20.00s", "", "timed_out", ""),  # upstream's other timer was first
        ("19.98s", "", "crashed", "Killed"),
        ("0.10s", "execution timed out after", "crashed", "Killed"),
        ("0.10s", "  File 'x.py'\n    1 +\nSyntaxError: bad", "crashed", "SyntaxError"),
        ("0.10s", "Traceback (most recent call last):\na.b.E: x: y", "crashed", "E"),
    ],
)
def test_how_a_run_ended_is_read_from_what_upstream_says(tmp_path, seconds, said, outcome, error):
    ran = {"status": "FAILED", "output": "", "error": said, "execution_time": seconds}
    found = _execution({"execution": ran}, tmp_path, LIMITS)
    assert (found.outcome, found.error) == (outcome, error)


@needs_checkout
def test_no_more_submissions_are_scored_than_allowed(upstream):
    assert upstream.step(Action("execute_code", "pass")).outcome == "no_submission"  # costs none
    scored = [upstream.step(Action("execute_code", SUBMIT)).position_score for _ in range(2)]
    assert scored == [upstream.best_position] * 2
    refused = upstream.step(Action("execute_code", SUBMIT))
    assert (refused.outcome, refused.error) == ("refused", "no_scores_left")
    assert upstream.step(Action("validate_code", SUBMIT)).outcome == "ok"


@needs_checkout
def test_feedback_has_what_our_engine_gives(competition, upstream, runner):
    ours = CompetitionEnvironment(competition, runner, grade, 2)
    for program in (SUBMIT, "print('seen')\n" + SUBMIT, "1 / 0", "raise KeyError('x')"):
        action = Action("execute_code", program)
        one, other = ours.step(action), upstream.step(action)
        assert (one.error, one.message, one.submission) == (
            other.error,
            other.message,
            other.submission,
        )
        assert ("seen" in one.output) == ("seen" in other.output)
    assert ours.history == upstream.history and ours.best_position == upstream.best_position
    assert "upstream-" not in other.output


@needs_checkout
def test_private_marks_are_noticed(competition, upstream):
    feedback = upstream.step(Action("execute_code", f"print('{competition.canary}')\n" + SUBMIT))
    assert (feedback.outcome, feedback.error) == ("invalid_submission", "refused_file")
    assert feedback.position_score is None and len(feedback.attempts) == 2


@needs_checkout
def test_links_are_scored_by_upstream_alone(competition, upstream, runner):
    link = Action(
        "execute_code", "import os\nos.symlink('sample_submission.csv', 'submission.csv')"
    )
    ours = CompetitionEnvironment(competition, runner, grade, 2)
    assert ours.step(link).error == "refused_file"
    assert upstream.step(link).template == "scored"


@needs_checkout
def test_a_program_that_kills_its_environment_raises_and_close_leaves_nothing(upstream):
    kill = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)"
    with pytest.raises(RuntimeError, match=r"ended \(status -9\) at execute_code"):
        upstream.step(Action("execute_code", kill))
    upstream.close()
    assert not upstream._folder.exists()


@needs_checkout
def test_a_program_ends_with_its_environment(upstream, tmp_path):
    started = tmp_path / "started"
    program = (
        f"import os, time\nopen({str(started)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    )
    errors: list[str] = []

    def run() -> None:
        try:
            upstream.step(Action("execute_code", program))
        except (RuntimeError, AssertionError) as ended:
            errors.append(str(ended))

    thread = threading.Thread(target=run)
    thread.start()
    while not (started.exists() and started.read_text()):
        time.sleep(0.05)
    assert upstream._process is not None
    upstream._process.terminate()
    thread.join(30)
    assert not Path(f"/proc/{started.read_text()}").exists() and len(errors) == 1
