"""What is remembered is what happened, once, and nothing is mixed up."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import PLAYED
from sandboxes import limits

from agent.competitions.loading import load_competition
from agent.core.competition import InvalidSubmissionError
from agent.core.environment import grade
from agent.sandbox.remembering import RememberingGrader, RememberingRunner
from agent.sandbox.runner import WarmRunner

SUBMIT = "open('submission.csv', 'w').write(open('sample_submission.csv').read())\nprint('done')\n"


@pytest.fixture
def remembering(runner) -> RememberingRunner:
    return RememberingRunner(runner, {})


@pytest.mark.parametrize(
    "program", [SUBMIT, "pass", "1 / 0", "import os\nos.mkfifo('submission.csv')"]
)
def test_a_program_is_executed_once_and_its_result_returned_as_it_was(remembering, wine, program):
    first = remembering.run(program, wine.public)
    again = remembering.run(program, wine.public)
    assert first.seconds > 0 and again == replace(first, seconds=0.0)
    assert (remembering.asked, remembering.executed) == (2, 1)


def test_another_program_or_another_competition_is_another_result(remembering, competitions):
    folders = [competitions[name].public for name in PLAYED[:2]]
    results = {remembering.run(SUBMIT, folder).submission for folder in folders}
    assert results == {(folder / "sample_submission.csv").read_bytes() for folder in folders}
    assert remembering.run(SUBMIT + "\n", folders[0]).submission in results
    assert remembering.executed == 3


def test_threads_that_ask_at_the_same_time_share_one_execution(remembering, wine):
    program = "import time\ntime.sleep(0.2)\n" + SUBMIT
    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(lambda _: remembering.run(program, wine.public), range(12)))
    assert remembering.executed == 1 and len({r.submission for r in results}) == 1


def test_different_programs_do_not_wait_for_each_other(remembering, wine):
    programs = [f"import time\ntime.sleep(0.5)\nprint({number})" for number in range(8)]
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda program: remembering.run(program, wine.public), programs))
    assert [result.output for result in results] == [f"{number}\n" for number in range(8)]
    assert time.monotonic() - started < 8 * 0.5


def test_a_time_out_is_tried_again(wine):
    with WarmRunner(limits(seconds=0.1), []) as impatient:
        remembering = RememberingRunner(impatient, {})
        for _ in range(2):
            assert remembering.run("import time\ntime.sleep(9)", wine.public).outcome == "timed_out"
        assert remembering.executed == 2


def test_a_failure_of_the_sandbox_is_raised_and_not_remembered(remembering, tmp_path):
    public = tmp_path / "public"
    with pytest.raises(FileNotFoundError):
        remembering.run("pass", public)
    public.mkdir()
    assert remembering.run("pass", public).outcome == "ok"


def test_it_says_how_the_real_runner_confines(remembering, runner):
    assert remembering.confinement == runner.confinement


def sample(folder: Path) -> bytes:
    return (folder / "data/public/sample_submission.csv").read_bytes()


@pytest.mark.parametrize("name", PLAYED)
def test_grades_are_those_of_the_real_grader_for_each_half(competition_folder, name):
    grader, submission = RememberingGrader(), sample(competition_folder / name)
    for half in ("feedback", "final", "feedback", "final"):
        competition = load_competition(competition_folder / name, half)
        assert grader(competition, submission) == grade(competition, submission)


def test_a_refusal_is_remembered_with_its_reason(wine):
    grader, reasons = RememberingGrader(), set()
    for _ in range(2):
        with pytest.raises(InvalidSubmissionError) as refused:
            grader(wine, b"id,target\n1,1\n")
        reasons.add(str(refused.value))
    assert len(reasons) == 1 and "wrong number of rows" in reasons.pop()
