"""Real faults in the midst of episodes: no finished turn is lost, every episode ends as it should.

A program that hangs, workers that are killed, a disk that fills up while the journal, a shard or a
program's output is written. That a server may die at any time is in test_vllm.py, what a program
can do to the sandbox in test_sandbox_faults.py.
"""

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from checkout import ROOT, run
from sandboxes import limits
from test_bad_input import settings
from test_journal import EPISODES, PROGRAMS, SAMPLE, TURNS, Mortal, Speaker, play, untimed
from test_play import Free, Script
from test_play import play as play_either

from agent.core.competition import Competition
from agent.core.environment import CompetitionEnvironment, Execution, ProgramRunner, grade
from agent.core.episode import EpisodeKey, EpisodeLimits
from agent.core.journal import Journal
from agent.core.play import Rollout, play_episodes
from agent.core.prompts import PromptManager
from agent.core.records import Trajectory
from agent.core.timing import Stopwatch
from agent.core.trajectories import read_trajectories, write_trajectories
from agent.sandbox.runner import WarmRunner

SECONDS = 4.0
HANGS = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
while True:
    pass
"""
SLOW = f"import time\ntime.sleep(0.5)\n{SAMPLE}"


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmRunner]:
    with WarmRunner(limits(seconds=SECONDS, cpu_seconds=3 * SECONDS), ["numpy"]) as runner:
        runner.wait_until_ready()
        yield runner


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a file system of the size given, at first, and of another size when asked again."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = False

    def resize(size: str) -> Path:
        nonlocal mounted
        options = f"remount,size={size}" if mounted else f"size={size}"
        done = run(ROOT, "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place))
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted = True
        return place

    yield resize
    if mounted:
        assert run(ROOT, "umount", "--lazy", str(place)).returncode == 0


def fill(place: Path, left: int) -> Path:
    """A file that leaves about so many bytes of a file system."""
    filler = place / "filler"
    free = os.statvfs(place)
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - left))
    return filler


def play_programs(
    wine: Competition, warm: ProgramRunner, programs: list[list[str]], workers: int
) -> list[Trajectory]:
    """Each episode at its own pace, with programs that really run."""
    rollout = Rollout(
        Script(programs),
        PromptManager("zero_shot"),
        EpisodeLimits(len(programs[0]), 400, 600.0),
        workers,
        "limits",
        Stopwatch("test", "faults"),
    )
    worlds = [CompetitionEnvironment(wine, warm, grade, 2) for _ in programs]
    keys = [EpisodeKey(0, 1, 0, number) for number in range(len(programs))]
    return play_episodes(rollout, worlds, keys)


def test_a_program_that_hangs_ends_in_time_and_keeps_nobody_waiting(wine, warm):
    started = time.monotonic()
    played = play_programs(wine, warm, [[HANGS, "1"], *[["1", "1"]] * 5], workers=2)
    assert time.monotonic() - started < SECONDS + 10
    assert [[turn.outcome for turn in t.turns] for t in played] == [
        ["timed_out", "ok"],
        *[["ok", "ok"]] * 5,
    ]
    assert {trajectory.stop_reason for trajectory in played} == {"max_turns"}


@pytest.mark.parametrize("victim", ["fork server", "supervisors"])
def test_workers_that_are_killed_cost_no_turn(wine, warm, victim):
    """Programs are running at that moment: they run again, and nobody learns of it."""
    programs = [[SLOW, SLOW], [SLOW, "1 / 0"], [SLOW, SLOW]]
    undisturbed = play_programs(wine, warm, programs, workers=3)

    def kill() -> None:
        owner = warm._zygote.pid
        found = [owner] if victim == "fork server" else supervisors_of(owner)
        assert found
        for process in found:
            with suppress(ProcessLookupError):  # some end by themselves when another one does
                os.kill(process, signal.SIGKILL)
        struck.set()

    class Struck(Mortal):
        def run(self, program: str, public: Path) -> Execution:
            if self.left == 97:  # the third program begins, the other two run
                threading.Timer(0.2, kill).start()
            return super().run(program, public)

    struck = threading.Event()
    disturbed = play_programs(wine, Struck(warm, 99), programs, workers=3)
    assert struck.is_set()
    assert [untimed(t) for t in disturbed] == [untimed(t) for t in undisturbed]
    assert [turn.outcome for turn in disturbed[1].turns] == ["ok", "crashed"]


def supervisors_of(owner: int) -> list[int]:
    """The other processes of a fork server's session; programs have sessions of their own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            if os.getsid(int(entry.name)) == owner != int(entry.name):
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("pace", [Speaker, Free], ids=["in rounds", "at own pace"])
@pytest.mark.parametrize("size", ["8k", "12k", "20k"])
def test_a_job_whose_journal_fills_the_disk_goes_on_once_there_is_room(
    wine, runner, small_disk, size, pace
):
    whole = play(wine, runner, None)
    path = small_disk(size) / "journal"
    before = Mortal(runner, 99)
    with (
        pytest.raises(OSError, match=f"{path}: cannot be written"),
        Journal(path, "one") as journal,
    ):
        play_either(wine, before, pace(), journal=journal)
    small_disk("4m")
    after, policy = Mortal(runner, 99), pace()
    with Journal(path, "one") as journal:
        kept = len(journal)
        ran = sum(journal.feedback(n, turn) is not None for n, turn in program_turns())
        played = play_either(wine, after, policy, journal=journal)
    assert 0 < kept < EPISODES * len(TURNS)
    assert policy.asked <= EPISODES * len(TURNS) - kept
    assert ran <= before.completed <= ran + EPISODES  # one of each episode could not be noted down
    assert after.completed == EPISODES * PROGRAMS - ran
    assert [untimed(t) for t in played] == [untimed(t) for t in whole]


def program_turns() -> list[tuple[int, int]]:
    """The actions of `TURNS` that run a program: the last one is refused."""
    return [(number, turn) for number in range(EPISODES) for turn in (0, 2, 5)]


def test_a_shard_that_fills_the_disk_is_written_from_the_journal(wine, runner, small_disk):
    place = small_disk("1m")
    with Journal(place / "journal", "one") as journal:
        played = play(wine, runner, journal)
    filler = fill(place, left=4096)
    with pytest.raises(OSError, match=r"shard0\.parquet: cannot be written: .*No space left"):
        write_trajectories(place / "shard0.parquet", played, {})
    assert sorted(path.name for path in place.iterdir()) == ["filler", "journal"]
    filler.unlink()
    policy = Speaker()
    with Journal(place / "journal", "one") as journal:
        again = play(wine, Mortal(runner, 0), journal, policy)
        write_trajectories(place / "shard0.parquet", again, {})
        journal.discard()
    assert policy.asked == 0 and [path.name for path in place.iterdir()] == ["shard0.parquet"]
    read = read_trajectories(place / "shard0.parquet")
    assert [untimed(t) for t in read] == [untimed(t) for t in played]


def test_a_job_goes_on_after_a_full_disk(small_disk, tmp_path, tiny_model, competition_folder):
    """The whole script: one line, then the same shard as without the fault."""
    changes = {"sampling": {"context_tokens": 4096}, "episode": {"max_turns": 12}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings(**changes)))

    def start(folder: Path) -> subprocess.CompletedProcess[str]:
        options = ["--model-name", tiny_model, "--config", tmp_path / "config.yaml"]
        options += ["--competitions-dir", competition_folder, "--num-episodes", "4"]
        options += ["--output-dir", folder, "--competitions", "engel-mae-outliers"]
        return run(ROOT, "python", "scripts/generate_trajectories.py", *map(str, options))

    place = small_disk("16k")
    failed = start(place)
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    journal = place / ".shard0.parquet.journal"
    assert f"error: {journal}: cannot be written: " in failed.stderr
    assert journal.read_bytes().count(b'"feedback"') > 4
    small_disk("4m")
    for folder in (place, tmp_path / "whole"):
        done = start(folder)
        assert done.returncode == 0, done.stderr
    assert [path.name for path in place.iterdir()] == ["shard0.parquet"]
    stopped, whole = (
        read_trajectories(folder / "shard0.parquet") for folder in (place, tmp_path / "whole")
    )
    assert len(stopped) == 4 and {t.stop_reason for t in stopped} == {"max_turns"}
    assert [untimed(t) for t in stopped] == [untimed(t) for t in whole]


@pytest.mark.parametrize("tier", ["namespaces", "landlock"])
def test_a_full_disk_is_no_mistake_of_a_program(small_disk, monkeypatch, wine, tier):
    """Neither printing nor writing can go well, and neither counts against the policy."""
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk("8m")))
    runner = WarmRunner(limits(seconds=SECONDS), ["numpy"], weakest=tier, strongest=tier)
    with runner:
        try:
            runner.wait_until_ready()
        except RuntimeError as refused:
            pytest.skip(str(refused))
        assert runner.run("print('fine')", wine.public).outcome == "ok"
        filler = fill(small_disk("8m"), left=0)
        for program in ("print('x' * 9000)", SAMPLE):
            with pytest.raises((OSError, RuntimeError), match="disk is full"):
                runner.run(program, wine.public)
        filler.unlink()
        assert runner.run("print('x' * 9000)", wine.public).outcome == "ok"
