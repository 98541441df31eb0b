"""Episodes at their own pace: how near they come to the bound of their programs' seconds.

A policy that takes half a second an answer, and programs that sleep between 0.1 and 30 seconds in
the real sandbox, on more workers than this machine need have cores: sleeping takes none. Some of
the same episodes are played one at a time as well, and scaled by the seconds of their programs.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agent.competitions.folder import prepare_competition
from agent.competitions.loading import load_competition
from agent.competitions.suite import find_entry
from agent.core.actions import format_action
from agent.core.base_agent import Response
from agent.core.competition import Competition
from agent.core.environment import CompetitionEnvironment, grade
from agent.core.episode import EpisodeKey, EpisodeLimits
from agent.core.play import Rollout, play_episodes
from agent.core.prompts import PromptManager
from agent.core.records import Conversation
from agent.core.timing import Stopwatch
from agent.sandbox.runner import WarmRunner
from benchmarks.sandbox import LIMITS

ROOT = Path(__file__).parents[1]
COMPETITION = "wine-macro-f1-unit-errors"

EPISODES, TURNS, WORKERS = 64, 8, 8
ALONE = 4  # episodes played one at a time
ANSWER_SECONDS = 0.5
SHORTEST, LONGEST = 0.1, 30.0
# What wall over bound may be, and what the speed-up must be.
OVER_BOUND, SPEED_UP = 1.15, 5.0


class SlowPolicy:
    """Answers after a while with a program that sleeps; its seed says for how long."""

    name, temperature, in_rounds = "slow", 0.0, False

    def respond(
        self, conversations: Sequence[Conversation], seeds: Sequence[int]
    ) -> list[Response]:
        time.sleep(ANSWER_SECONDS)
        program = f"import time\ntime.sleep({_program_seconds(seeds[0])})"
        return [Response(format_action("validate_code", program), "stop")]


def _program_seconds(seed: int) -> float:
    """Log-uniform, so that many are short and a few long."""
    drawn = np.random.default_rng(seed).uniform(np.log(SHORTEST), np.log(LONGEST))
    return float(np.exp(drawn))


def run() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, WarmRunner(LIMITS, []) as runner:
        board = ROOT / f"config/leaderboards/{COMPETITION}.csv"
        prepare_competition(find_entry(COMPETITION), board, Path(folder) / COMPETITION)
        competition = load_competition(Path(folder) / COMPETITION, "feedback")
        runner.wait_until_ready()
        together, programs = _play(competition, runner, range(EPISODES))
        alone = [_play(competition, runner, [number]) for number in range(ALONE)]
    per_second = sum(seconds for seconds, _ in alone) / sum(slept for _, slept in alone)
    over_bound = together / max(ANSWER_SECONDS * TURNS, programs / WORKERS)
    speed_up = per_second * programs / together
    return {
        "episodes": EPISODES,
        "workers": WORKERS,
        "program_seconds": programs,
        "wall_seconds": together,
        "wall_over_bound": over_bound,
        "speed_up_over_one_at_a_time": speed_up,
        "met": over_bound <= OVER_BOUND and speed_up >= SPEED_UP,
    }


def _play(
    competition: Competition, runner: WarmRunner, numbers: Sequence[int]
) -> tuple[float, float]:
    """Seconds it took, and the sum of what the programs slept."""
    rollout = Rollout(
        SlowPolicy(),
        PromptManager("zero_shot"),
        EpisodeLimits(TURNS, 400, 1e6),
        WORKERS,
        runner.confinement,
        Stopwatch("benchmark", "concurrency"),
    )
    keys = [EpisodeKey(0, 0, 0, number) for number in numbers]
    worlds = [CompetitionEnvironment(competition, runner, grade, 1) for _ in keys]
    started = time.perf_counter()
    played = play_episodes(rollout, worlds, keys)
    seconds = time.perf_counter() - started
    if any(turn.outcome != "ok" for trajectory in played for turn in trajectory.turns):
        raise RuntimeError("concurrency: a sleeping program failed; see its trajectory")
    slept = sum(_program_seconds(key.turn_seed(turn)) for key in keys for turn in range(TURNS))
    return seconds, slept
