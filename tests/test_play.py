"""Episodes at their own pace: nobody waits for another's program, and nothing else changes."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_journal import EPISODES, TURNS, Speaker, untimed

from agent.core.actions import format_action
from agent.core.base_agent import Response
from agent.core.competition import Competition
from agent.core.environment import CompetitionEnvironment, Execution, grade
from agent.core.episode import EpisodeKey, EpisodeLimits
from agent.core.journal import Journal
from agent.core.play import Rollout, play_episodes
from agent.core.prompts import PromptManager
from agent.core.records import Conversation, Trajectory
from agent.core.stopping import StoppedEarlyError
from agent.core.timing import Stopwatch


class Free(Speaker):
    """The same words, asked for one by one; as a server, it may be asked by many at once."""

    in_rounds = False

    def __init__(self) -> None:
        super().__init__()
        self.most, self.now, self.guard = 0, 0, threading.Lock()

    def respond(
        self, conversations: Sequence[Conversation], seeds: Sequence[int]
    ) -> list[Response]:
        assert self.in_rounds or len(conversations) == 1
        with self.guard:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        with self.guard:
            self.now -= 1
            return super().respond(conversations, seeds)


class Room:
    """Runs programs named by their seconds, and knows how many ran at once."""

    confinement = "none"

    def __init__(self, worst: float = 0.0) -> None:
        self.most, self.now, self.guard, self.worst = 0, 0, threading.Lock(), worst

    def run(self, program: str, public: Path) -> Execution:
        program = program.strip()
        with self.guard:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.worst if program == "hang" else 0.01)
        with self.guard:
            self.now -= 1
        if program == "break":
            raise RuntimeError("the machine broke")
        return Execution("timed_out" if program == "hang" else "ok", "", "", "", None, "", 0.01)


def rollout(policy, turns: int, workers: int, seconds: float = 600.0, **facts) -> Rollout:
    limits = EpisodeLimits(turns, 400, seconds)
    watch = Stopwatch("test", "play")
    return Rollout(policy, PromptManager("zero_shot"), limits, workers, "limits", watch, **facts)


def play(wine: Competition, runner, policy, workers: int = 2, **facts) -> list[Trajectory]:
    worlds = [CompetitionEnvironment(wine, runner, grade, 2) for _ in range(EPISODES)]
    keys = [EpisodeKey(0, 1, 0, number) for number in range(EPISODES)]
    return play_episodes(rollout(policy, len(TURNS), workers, **facts), worlds, keys)


def test_pace_changes_nothing_but_the_time(wine, runner):
    in_rounds, free = play(wine, runner, Speaker()), play(wine, runner, Free())
    assert [untimed(t) for t in free] == [untimed(t) for t in in_rounds]


class Script(Free):
    """Each episode says its own programs, by turn."""

    def __init__(self, programs: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self.programs = {
            EpisodeKey(0, 1, 0, number).turn_seed(turn): program
            for number, own in enumerate(programs)
            for turn, program in enumerate(own)
        }

    def _say(self, conversation: Conversation, seed: int) -> Response:
        return Response(format_action("validate_code", self.programs[seed]), "stop")


def play_programs(
    wine: Competition,
    programs: Sequence[Sequence[str]],
    room: Room,
    workers: int,
    in_rounds: bool = False,
    **facts,
) -> tuple[Script, list[Trajectory]]:
    policy = Script(programs)
    policy.in_rounds = in_rounds
    worlds = [CompetitionEnvironment(wine, room, grade, 2) for _ in programs]
    keys = [EpisodeKey(0, 1, 0, number) for number in range(len(programs))]
    return policy, play_episodes(rollout(policy, len(programs[0]), workers, **facts), worlds, keys)


def test_a_hanging_program_delays_its_own_episode_alone(wine):
    ends: dict[int, float] = {}
    started = time.monotonic()
    count = 0

    def note(turns: int) -> None:
        nonlocal count
        count += turns
        ends[count] = time.monotonic() - started

    _, trajectories = play_programs(
        wine, [["hang", "a"], *[["a", "b"]] * 5], Room(3.0), 2, on_turns=note
    )
    assert ends[10] < 2.0 < ends[12]  # all turns of the others were over
    assert [len(t.turns) for t in trajectories] == [2] * 6
    assert trajectories[0].turns[0].outcome == "timed_out"


def test_workers_bound_the_programs_and_not_the_answers(wine):
    room = Room()
    policy, trajectories = play_programs(wine, [["a", "b", "c"]] * 12, room, 3)
    assert 2 <= room.most <= 3 < policy.most
    assert len(trajectories) == 12


@pytest.mark.parametrize("in_rounds", [False, True])
def test_waiting_for_a_worker_costs_an_episode_no_turn(wine, in_rounds):
    """Each program counts a hundredth of a second and keeps the one worker for a fifth."""
    started = time.monotonic()
    programs, room = [["hang"] * 3] * 4, Room(0.2)
    _, trajectories = play_programs(wine, programs, room, 1, in_rounds, seconds=1.0)
    assert time.monotonic() - started > 2.0
    assert {(t.stop_reason, len(t.turns)) for t in trajectories} == {("max_turns", 3)}
    _, trajectories = play_programs(wine, programs, room, 4, in_rounds, seconds=0.015)
    assert {t.stop_reason for t in trajectories} == {"seconds"}


def test_what_breaks_in_one_episode_ends_the_job_at_once(wine):
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="the machine broke"):
        play_programs(wine, [["break", "a"], *[["hang"] * 2] * 3], Room(1.0), 4)
    assert time.monotonic() - started < 3.0


def test_a_job_without_rounds_goes_on_as_well(wine, runner, tmp_path):
    warned, played = threading.Event(), []

    def note(count: int) -> None:
        played.append(count)
        if len(played) >= 8:
            warned.set()
            time.sleep(2.0)  # until the warning is heeded

    with (
        Journal(tmp_path / "journal", "one") as journal,
        pytest.raises(StoppedEarlyError, match="finished turns are kept"),
    ):
        play(wine, runner, Free(), journal=journal, warned=warned, on_turns=note)
    policy = Free()
    with Journal(tmp_path / "journal", "one") as journal:
        kept = len(journal)
        again = play(wine, runner, policy, journal=journal)
    assert 8 <= kept < EPISODES * len(TURNS)
    assert policy.asked <= EPISODES * len(TURNS) - kept
    assert [untimed(t) for t in again] == [untimed(t) for t in play(wine, runner, Free())]
