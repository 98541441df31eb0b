"""Plays the episodes of one job side by side, in rounds or each at its own pace.

A round asks the policy for the next action of every living episode and lets the environments
answer in parallel. Rounds are composed by episode number alone, never by timing, so on a CPU the
same seeds give the same tokens whatever the number of cores.

A policy that answers single conversations as they come, as a server does, plays without rounds:
while some episodes wait for their programs the others generate, so that a program of an hour keeps
nobody waiting but its own episode.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

from agent.core.base_agent import Policy, Response
from agent.core.environment import Environment, Feedback
from agent.core.episode import (
    Episode,
    EpisodeKey,
    EpisodeLimits,
    open_episode,
    read_action,
    record_turn,
    to_trajectory,
)
from agent.core.journal import Journal
from agent.core.prompts import PromptManager
from agent.core.records import Trajectory
from agent.core.stopping import StoppedEarlyError
from agent.core.timing import Stopwatch

_LAST_SECONDS = 20.0  # for running programs once the job was warned; SLURM kills after 30


@dataclass(frozen=True, slots=True)
class Rollout:
    """What the episodes of one job share."""

    policy: Policy
    prompts: PromptManager
    limits: EpisodeLimits
    workers: int  # programs that run at the same time
    confinement: str  # how they are confined, for the records
    stopwatch: Stopwatch
    journal: Journal | None = None
    warned: threading.Event | None = None  # set when the job is to end early
    on_turns: Callable[[int], None] = lambda count: None  # that so many more were played


def play_episodes(
    rollout: Rollout, environments: Sequence[Environment], keys: Sequence[EpisodeKey]
) -> list[Trajectory]:
    """Play one episode per environment.

    Raises `RuntimeError` when an episode ends without a single turn: that is a defect of the
    set-up (a prompt longer than the context, a policy that answers nothing), never a result; and
    `StoppedEarlyError` after a warning, with what was finished in the journal.
    """
    episodes = [
        open_episode(key, environment, rollout.prompts, rollout.limits)
        for key, environment in zip(keys, environments, strict=True)
    ]
    if rollout.policy.in_rounds:
        _play_in_rounds(rollout, episodes)
    else:
        _play_at_own_pace(rollout, episodes)
    return [to_trajectory(episode, rollout.policy, rollout.confinement) for episode in episodes]


def _play_in_rounds(rollout: Rollout, episodes: Sequence[Episode]) -> None:
    pool = ThreadPoolExecutor(max_workers=rollout.workers)
    try:
        for turn in range(rollout.limits.max_turns):
            living = [episode for episode in episodes if episode.stop_reason is None]
            if not living:
                break
            _play_round(rollout, living, turn, pool)
            rollout.on_turns(len(living))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _play_at_own_pace(rollout: Rollout, episodes: Sequence[Episode]) -> None:
    """One thread per episode; `workers` bounds the programs, the policy bounds itself."""
    programs, stopping = threading.Semaphore(rollout.workers), threading.Event()
    pool = ThreadPoolExecutor(max_workers=len(episodes))
    try:
        with rollout.stopwatch.phase("generate"):
            played = [
                pool.submit(_play_alone, rollout, episode, programs, stopping)
                for episode in episodes
            ]
            _await(rollout, played, stopping)
    finally:
        stopping.set()
        pool.shutdown(wait=False, cancel_futures=True)
    _divide_time(rollout.stopwatch, episodes)


def _play_alone(
    rollout: Rollout, episode: Episode, programs: threading.Semaphore, stopping: threading.Event
) -> None:
    for turn in range(rollout.limits.max_turns):
        if episode.stop_reason is not None or stopping.is_set():
            return
        response = _respond(rollout, [episode], turn)[0]
        if response.finish == "context":
            episode.stop_reason = "context"
            return
        with programs:
            if stopping.is_set():
                return
            feedback = _step(rollout, episode, response, turn)
        record_turn(episode, response, feedback, rollout.prompts, rollout.limits)
        rollout.on_turns(1)


def _divide_time(stopwatch: Stopwatch, episodes: Sequence[Episode]) -> None:
    """Both went on at once: the wall time is divided as the seconds of the turns are."""
    turns = [turn for episode in episodes for turn in episode.turns]
    executed = sum(turn.execute_seconds + turn.grade_seconds for turn in turns)
    worked = sum(turn.seconds for turn in turns)
    if worked:
        stopwatch.move("generate", "execute", stopwatch.seconds["generate"] * executed / worked)


def _play_round(
    rollout: Rollout, living: Sequence[Episode], turn: int, pool: ThreadPoolExecutor
) -> None:
    _heed_warning(rollout, [], threading.Event())
    with rollout.stopwatch.phase("generate"):
        responses = _respond(rollout, living, turn)
    with rollout.stopwatch.phase("execute"):
        steps = [
            None
            if response.finish == "context"
            else pool.submit(_step, rollout, episode, response, turn)
            for episode, response in zip(living, responses, strict=True)
        ]
        _await(rollout, [step for step in steps if step is not None], threading.Event())
    for episode, response, step in zip(living, responses, steps, strict=True):
        if step is None:
            episode.stop_reason = "context"
            continue
        record_turn(episode, response, step.result(), rollout.prompts, rollout.limits)


def _respond(rollout: Rollout, living: Sequence[Episode], turn: int) -> list[Response]:
    """The policy's answers; those that the journal holds are not asked for again."""
    journal = rollout.journal
    known: dict[int, Response] = {}
    if journal is not None:
        for number, episode in enumerate(living):
            answer = journal.recall(episode.key.episode, turn, episode.conversation)
            if answer is not None:
                known[number] = answer
    asked = [number for number in range(len(living)) if number not in known]
    if asked:
        conversations = [living[number].conversation for number in asked]
        lengths = [len(conversation.token_ids) for conversation in conversations]
        seeds = [living[number].key.turn_seed(turn) for number in asked]
        started = time.perf_counter()
        answers = rollout.policy.respond(conversations, seeds)
        seconds = (time.perf_counter() - started) / len(asked)
        answers = [replace(answer, generate_seconds=seconds) for answer in answers]
        if journal is not None:
            episodes = [living[number].key.episode for number in asked]
            journal.add_responses(turn, episodes, conversations, lengths, answers)
        known |= dict(zip(asked, answers, strict=True))
    return [known[number] for number in range(len(living))]


def _step(rollout: Rollout, episode: Episode, response: Response, turn: int) -> Feedback:
    action = read_action(response, rollout.prompts.action_format)
    number, journal = episode.key.episode, rollout.journal
    known = None if journal is None else journal.feedback(number, turn)
    if known is not None:
        episode.environment.note(action, known)
        return known
    feedback = episode.environment.step(action)
    if journal is not None:
        journal.add_feedback(number, turn, feedback)
    return feedback


def _await(rollout: Rollout, work: Sequence[Future[Any]], stopping: threading.Event) -> None:
    """Until all is done or something raised; a warning cancels what has not begun."""
    remaining = set(work)
    while remaining:
        _heed_warning(rollout, work, stopping)
        done, remaining = wait(remaining, timeout=1.0, return_when=FIRST_EXCEPTION)
        for finished in done:
            finished.result()


def _heed_warning(rollout: Rollout, work: Sequence[Future[Any]], stopping: threading.Event) -> None:
    """Once warned, say so, wait a little for what is under way, and raise."""
    if rollout.warned is None or not rollout.warned.is_set():
        return
    stopping.set()
    begun = [one for one in work if not one.cancel()]
    wait(begun, timeout=_LAST_SECONDS)
    kept = "nothing is kept" if rollout.journal is None else "finished turns are kept"
    raise StoppedEarlyError(f"told to end early; {kept}: run the job again to go on")
