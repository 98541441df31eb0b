"""Plays the episodes of one job side by side, in rounds.

A round asks the policy for the next action of every living episode and lets the environments
answer in parallel. Rounds are composed by episode number alone, never by timing, so on a CPU the
same seeds give the same tokens whatever the number of cores.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

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
    on_round: Callable[[int, int], None] = lambda turn, living: None


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
    pool = ThreadPoolExecutor(max_workers=rollout.workers)
    try:
        for turn in range(rollout.limits.max_turns):
            living = [episode for episode in episodes if episode.stop_reason is None]
            if not living:
                break
            rollout.on_round(turn, len(living))
            _play_round(rollout, living, turn, pool)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return [to_trajectory(episode, rollout.policy, rollout.confinement) for episode in episodes]


def _play_round(
    rollout: Rollout, living: Sequence[Episode], turn: int, pool: ThreadPoolExecutor
) -> None:
    _heed_warning(rollout, [])
    started = time.perf_counter()
    with rollout.stopwatch.phase("generate"):
        responses = _respond(rollout, living, turn)
    seconds = (time.perf_counter() - started) / len(living)
    with rollout.stopwatch.phase("execute"):
        steps = [
            None
            if response.finish == "context"
            else pool.submit(_step, rollout, episode, response, turn)
            for episode, response in zip(living, responses, strict=True)
        ]
        _await(rollout, [step for step in steps if step is not None])
    for episode, response, step in zip(living, responses, steps, strict=True):
        if step is None:
            episode.stop_reason = "context"
            continue
        record_turn(episode, response, step.result(), seconds, rollout.prompts, rollout.limits)


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
        answers = rollout.policy.respond(conversations, seeds)
        if journal is not None:
            episodes = [living[number].key.episode for number in asked]
            journal.add_responses(turn, episodes, conversations, lengths, answers)
        known |= dict(zip(asked, answers, strict=True))
    return [known[number] for number in range(len(living))]


def _step(rollout: Rollout, episode: Episode, response: Response, turn: int) -> Feedback:
    action, number, journal = read_action(response), episode.key.episode, rollout.journal
    known = None if journal is None else journal.feedback(number, turn)
    if known is not None:
        episode.environment.note(action, known)
        return known
    feedback = episode.environment.step(action)
    if journal is not None:
        journal.add_feedback(number, turn, feedback)
    return feedback


def _await(rollout: Rollout, steps: Sequence[Future[Feedback]]) -> None:
    """Until all are done; a warning cancels what has not begun and cuts the waiting short."""
    remaining = set(steps)
    while remaining:
        _heed_warning(rollout, steps)
        remaining = wait(remaining, timeout=1.0).not_done


def _heed_warning(rollout: Rollout, steps: Sequence[Future[Feedback]]) -> None:
    if rollout.warned is None or not rollout.warned.is_set():
        return
    begun = [step for step in steps if not step.cancel()]
    wait(begun, timeout=_LAST_SECONDS)
    kept = "nothing is kept" if rollout.journal is None else "finished turns are kept"
    raise StoppedEarlyError(f"told to end early; {kept}: run the job again to go on")
