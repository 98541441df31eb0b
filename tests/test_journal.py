"""A job that was killed goes on after its last turn, and ends as if it had never stopped."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from checkout import ROOT
from fingerprint import imported_files
from test_bad_input import settings

from agent.core.actions import format_action
from agent.core.base_agent import Response
from agent.core.chat import append_action, append_context
from agent.core.competition import Competition
from agent.core.environment import CompetitionEnvironment, Execution, ProgramRunner, grade
from agent.core.episode import EpisodeKey, EpisodeLimits
from agent.core.journal import Journal, playing
from agent.core.play import Rollout, play_episodes
from agent.core.prompts import PromptManager
from agent.core.records import Conversation, Trajectory
from agent.core.stopping import StoppedEarlyError, stop_on_warning
from agent.core.timing import Stopwatch
from agent.core.trajectories import read_trajectories

SAMPLE = "open('submission.csv', 'w').write(open('sample_submission.csv').read())"
TURNS = [
    format_action("validate_code", "1 / 0"),
    "no action",
    format_action("execute_code", SAMPLE),
    format_action("get_history"),
    format_action("reset"),
    format_action("execute_code", f"{SAMPLE}\nprint('again')"),
    format_action("execute_code", SAMPLE),  # refused: only two may be scored
]
EPISODES, PROGRAMS = 3, 3


class Killed(BaseException):
    """What nothing catches, as nothing catches a kill."""


class Mortal:
    """Runs programs until the job dies."""

    def __init__(self, runner: ProgramRunner, programs: int) -> None:
        self.runner, self.left, self.completed = runner, programs, 0

    @property
    def confinement(self) -> str:
        return self.runner.confinement

    def run(self, program: str, public: Path) -> Execution:
        if self.left == 0:
            raise Killed
        self.left -= 1
        execution = self.runner.run(program, public)
        self.completed += 1
        return execution


class Speaker:
    """Says `TURNS` in tokens, with log-probs that depend on the seed."""

    name, temperature, in_rounds = "speaker", 1.0, True

    def __init__(self) -> None:
        self.asked = 0

    def respond(
        self, conversations: Sequence[Conversation], seeds: Sequence[int]
    ) -> list[Response]:
        return [self._say(*pair) for pair in zip(conversations, seeds, strict=True)]

    def _say(self, conversation: Conversation, seed: int) -> Response:
        self.asked += 1
        new = conversation.messages[conversation.encoded_messages :]
        append_context(conversation, [len(message.content) for message in new])
        conversation.encoded_messages = len(conversation.messages) + 1
        turn = sum(message.role == "assistant" for message in conversation.messages)
        ids = list(TURNS[turn].encode())
        logprobs = np.random.default_rng(seed).normal(size=len(ids)).tolist()
        first, last = append_action(conversation, ids, logprobs)
        return Response(TURNS[turn], "stop", first, last)


def play(
    wine: Competition,
    runner: ProgramRunner,
    journal: Journal | None,
    policy: Speaker | None = None,
    warned: threading.Event | None = None,
    seconds: float = 600.0,
) -> list[Trajectory]:
    rollout = Rollout(
        policy or Speaker(),
        PromptManager("zero_shot"),
        EpisodeLimits(len(TURNS), 400, seconds),
        1,
        "limits",
        Stopwatch("test", "journal"),
        journal,
        warned,
    )
    worlds = [CompetitionEnvironment(wine, runner, grade, 2) for _ in range(EPISODES)]
    return play_episodes(rollout, worlds, [EpisodeKey(0, 1, 0, n) for n in range(EPISODES)])


def untimed(trajectory: Trajectory) -> tuple[object, ...]:
    turns = [
        replace(turn, generate_seconds=0.0, execute_seconds=0.0, grade_seconds=0.0)
        for turn in trajectory.turns
    ]
    arrays = (trajectory.token_ids, trajectory.action_mask, trajectory.logprobs)
    facts = replace(trajectory, turns=(), token_ids=None, action_mask=None, logprobs=None)
    return (turns, [array.tobytes() for array in arrays], facts)


@pytest.fixture(scope="module")
def whole(wine, runner) -> list[Trajectory]:
    return play(wine, runner, None)


@pytest.mark.parametrize("programs", range(EPISODES * PROGRAMS))
def test_a_job_killed_at_any_program_ends_as_if_it_was_not(wine, runner, tmp_path, whole, programs):
    path, mortal = tmp_path / "journal", Mortal(runner, programs)
    with pytest.raises(Killed), Journal(path, "one") as journal:
        play(wine, mortal, journal)
    policy, other = Speaker(), Mortal(runner, 99)
    with Journal(path, "one") as journal:
        played = play(wine, other, journal, policy)
    assert [untimed(t) for t in played] == [untimed(t) for t in whole]
    assert mortal.completed == programs
    assert mortal.completed + other.completed == EPISODES * PROGRAMS  # nothing ran twice
    rounds = {0: 0, 1: 2, 2: 5}[programs // EPISODES]  # whose answers the first job had heard
    assert policy.asked == EPISODES * (len(TURNS) - rounds - 1)


class Timed(Speaker):
    """Takes three quarters of a second for each episode in which it says something."""

    def __init__(self, clock: list[float]) -> None:
        super().__init__()
        self.clock = clock

    def _say(self, conversation: Conversation, seed: int) -> Response:
        self.clock[0] += 0.75
        return super()._say(conversation, seed)


class Counted(Mortal):
    """Counts a second of a program's for each of its lines."""

    def run(self, program: str, public: Path) -> Execution:
        return replace(super().run(program, public), seconds=float(len(program.splitlines())))


# The seven turns take 1.75, .75, 1.75, .75, .75, 2.75 and, without a program, .75 seconds.
@pytest.mark.parametrize(("limit", "turns"), [(4.0, 3), (4.5, 4), (5.5, 5), (8.0, 6), (9.5, 7)])
@pytest.mark.parametrize("programs", [1, 4, 8])
def test_a_kill_neither_lengthens_nor_shortens_an_episode(
    wine, runner, tmp_path, monkeypatch, limit, turns, programs
):
    clock, path = [0.0], tmp_path / "journal"
    monkeypatch.setattr("agent.core.play.time.perf_counter", lambda: clock[0])
    whole = play(wine, Counted(runner, 99), None, Timed(clock), seconds=limit)
    with contextlib.suppress(Killed), Journal(path, "one") as journal:
        play(wine, Counted(runner, programs), journal, Timed(clock), seconds=limit)
    clock[0] += 10_000.0  # until somebody starts it again
    with Journal(path, "one") as journal:
        played = play(wine, Counted(runner, 99), journal, Timed(clock), seconds=limit)
    assert [t.turns for t in played] == [t.turns for t in whole]
    assert [untimed(t) for t in played] == [untimed(t) for t in whole]
    reason = "max_turns" if turns == len(TURNS) else "seconds"
    assert {(t.stop_reason, len(t.turns)) for t in played} == {(reason, turns)}


def test_what_was_played_is_not_played_again(wine, runner, tmp_path, whole):
    with Journal(tmp_path / "journal", "one") as journal:
        first = play(wine, runner, journal)
    policy = Speaker()
    with Journal(tmp_path / "journal", "one") as journal:
        assert len(journal) == EPISODES * len(TURNS)
        again = play(wine, Mortal(runner, 0), journal, policy)
        journal.discard()
    assert policy.asked == 0 and not (tmp_path / "journal").exists()
    assert [untimed(t) for t in again] == [untimed(t) for t in whole]
    assert [t.turns for t in again] == [t.turns for t in first]  # with their seconds


def test_a_line_cut_short_is_played_again(wine, runner, tmp_path, whole):
    path = tmp_path / "journal"
    with Journal(path, "one") as journal:
        play(wine, runner, journal)
    lines = path.read_bytes().splitlines(keepends=True)
    for cut in (len(lines[0]) // 2, sum(map(len, lines[:5])) - 1, sum(map(len, lines)) - 7):
        path.write_bytes(b"".join(lines)[:cut])
        with Journal(path, "one") as journal:
            played = play(wine, runner, journal)
        assert [untimed(t) for t in played] == [untimed(t) for t in whole]
        assert all(json.loads(line) for line in path.read_text().splitlines())


def test_what_was_played_under_other_conditions_is_moved_aside(wine, runner, tmp_path, capfd):
    path, aside = tmp_path / "journal", tmp_path / "journal.aside"
    with Journal(path, "one") as journal:
        play(wine, runner, journal)
    assert capfd.readouterr().out == "" and not aside.exists()
    content = path.read_bytes()
    with Journal(path, "other") as journal:
        assert len(journal) == 0
    told = f"{path}: other settings or code: moved to {aside}; its episodes are played anew\n"
    assert capfd.readouterr().out == told
    assert not path.exists() and aside.read_bytes() == content


def test_what_was_moved_aside_comes_back_when_it_fits_again(wine, runner, tmp_path, whole, capfd):
    path, aside = tmp_path / "journal", tmp_path / "journal.aside"
    with pytest.raises(Killed), Journal(path, "one") as journal:
        play(wine, Mortal(runner, 5), journal)
    first = path.read_bytes()
    with pytest.raises(Killed), Journal(path, "other") as journal:
        play(wine, Mortal(runner, 1), journal)
    second, policy = path.read_bytes(), Speaker()
    with Journal(path, "one") as journal:
        assert path.read_bytes() == first and aside.read_bytes() == second
        played = play(wine, Mortal(runner, 4), journal, policy)
    assert "what fits comes back from there" in capfd.readouterr().out
    assert [untimed(t) for t in played] == [untimed(t) for t in whole]
    assert policy.asked < EPISODES * len(TURNS)


@pytest.mark.parametrize(
    ("edited", "fits"),
    [
        ("evaluation/figures.py", True),
        ("browser/episodes.py", True),
        ("training/ppo.py", True),
        ("wrappers/verl_update.py", True),
        ("core/README.md", True),
        ("core/play.py", False),
        ("core/prompts/zero_shot.yaml", False),
        ("sandbox/supervisor.py", False),
        ("wrappers/vllm_policy.py", False),
        ("rollout.py", False),
    ],
)
def test_an_edit_counts_if_it_may_change_an_episode(
    wine, runner, tmp_path, monkeypatch, edited, fits
):
    package = shutil.copytree(ROOT / "agent", tmp_path / "agent")
    monkeypatch.setattr("agent.core.journal._PACKAGE", package)
    path = tmp_path / "journal"
    with pytest.raises(Killed), Journal(path, "one") as journal:
        play(wine, Mortal(runner, 2), journal)
    with (package / edited).open("a") as file:
        file.write("\n# an edit\n")
    with Journal(path, "one") as journal:
        assert bool(len(journal)) == fits


def test_all_code_that_is_imported_to_play_counts_but_what_trains():
    scripts = ("base_model", "generate_trajectories", "evaluate", "evaluate_api_model")
    used = set().union(*(imported_files(ROOT / f"scripts/{name}.py") for name in scripts))
    counted = playing(ROOT / "agent")
    left_out = {path for path in used if path.parent.name != "scripts"} - set(counted)
    assert all(path.is_relative_to(ROOT / "agent/training") for path in left_out)
    assert len(counted) > 50


def test_two_jobs_never_play_the_same_episodes(tmp_path):
    path = tmp_path / "journal"
    code = (
        "import sys; from pathlib import Path; from agent.core.journal import Journal\n"
        "with Journal(Path(sys.argv[1]), 'one'): print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as other:
        assert other.stdout.readline() == b"open\n"
        refused = pytest.raises(RuntimeError, match=f"{path}: another process plays these")
        with refused, Journal(path, "one"):
            pass
        other.kill()
    with Journal(path, "one"):
        pass


def test_a_warned_job_finishes_the_program_that_runs_and_begins_no_other(wine, runner, tmp_path):
    warned = threading.Event()

    class Warned(Mortal):
        def run(self, program: str, public: Path) -> Execution:
            warned.set()
            return super().run(program, public)

    only = Warned(runner, 99)
    with Journal(tmp_path / "journal", "one") as journal:
        with pytest.raises(StoppedEarlyError, match="finished turns are kept: run the job again"):
            play(wine, only, journal, warned=warned)
        assert only.completed >= 1
    with Journal(tmp_path / "journal", "one") as journal:
        assert len(journal) == only.completed < EPISODES


def test_warnings_are_noted_and_handlers_put_back():
    before = signal.getsignal(signal.SIGURG)
    with stop_on_warning() as warned:
        assert not warned.is_set()
        os.kill(os.getpid(), signal.SIGURG)
        assert warned.wait(5.0)
    assert signal.getsignal(signal.SIGURG) == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGURG])
def test_a_shard_goes_on_after_a_signal(tmp_path, tiny_model, competition_folder, number):
    changes = {"sampling": {"context_tokens": 8192}, "episode": {"max_turns": 40}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings(**changes)))
    names = ["engel-mae-outliers", "wine-macro-f1-unit-errors"]

    def start(folder: str) -> subprocess.Popen[str]:
        options = ["--model-name", tiny_model, "--config", tmp_path / "config.yaml"]
        options += ["--competitions-dir", competition_folder, "--num-episodes", "6"]
        options += ["--output-dir", tmp_path / folder, "--competitions", *names]
        command = [sys.executable, "scripts/generate_trajectories.py", *map(str, options)]
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)

    journal = tmp_path / "stopped/.shard0.parquet.journal"
    with start("stopped") as first:
        while not (journal.is_file() and journal.read_bytes().count(b"feedback") > 20):
            assert first.poll() is None, first.stderr.read()
            time.sleep(0.005)
        first.send_signal(number)
        said = first.stderr.read()
    assert first.returncode == (-number if number == signal.SIGKILL else 1)
    assert ("told to end early" in said) == (number != signal.SIGKILL)
    assert not (tmp_path / "stopped/shard0.parquet").exists()
    begun = journal.read_bytes().count(b'"feedback"')
    assert 20 < begun < 6 * 40
    for folder in ("stopped", "whole"):
        with start(folder) as last:
            assert last.wait() == 0, last.stderr.read()
    assert not journal.exists()
    stopped, unstopped = (
        read_trajectories(tmp_path / folder / "shard0.parquet") for folder in ("stopped", "whole")
    )
    assert [untimed(t) for t in stopped] == [untimed(t) for t in unstopped]
