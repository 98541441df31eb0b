"""Plays many episodes side by side: one batched answer per round, then all programs at once.

A round asks the policy for the next action of every living episode and lets the environments
answer in parallel. Rounds are composed by episode number alone, never by timing, so on a CPU the
same seeds give the same tokens whatever the number of cores.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import numpy as np

from agent.core.actions import parse_action
from agent.core.base_agent import Policy, Response
from agent.core.environment import Environment, Feedback
from agent.core.prompts import PromptManager, head_and_tail
from agent.core.records import Conversation, Message, StopReason, Trajectory, Turn
from agent.core.timing import Stopwatch


@dataclass(frozen=True, slots=True)
class EpisodeLimits:
    max_turns: int
    output_characters: int  # of a program's output that the agent gets to see
    seconds: float  # an episode gets no further turn after this long


@dataclass(frozen=True, slots=True)
class EpisodeKey:
    """Where an episode belongs; its sampling seeds derive from this and nothing else."""

    seed: int
    iteration: int
    shard: int
    episode: int

    def turn_seed(self, turn: int) -> int:
        words = f"{self.seed}/{self.iteration}/{self.shard}/{self.episode}/{turn}"
        return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=7).digest(), "big")


@dataclass
class _Episode:
    key: EpisodeKey
    environment: Environment
    started: float
    conversation: Conversation = field(default_factory=Conversation)
    turns: list[Turn] = field(default_factory=list)
    stop_reason: StopReason | None = None


def play_episodes(
    policy: Policy,
    environments: Sequence[Environment],
    keys: Sequence[EpisodeKey],
    prompts: PromptManager,
    limits: EpisodeLimits,
    workers: int,
    confinement: str,
    stopwatch: Stopwatch,
    on_round: Callable[[int, int], None] = lambda turn, living: None,
) -> list[Trajectory]:
    """Play one episode per environment; `workers` programs run at the same time.

    Raises `RuntimeError` when an episode ends without a single turn: that is a defect of the
    set-up (a prompt longer than the context, a policy that answers nothing), never a result.
    """
    episodes = [
        _Episode(key, environment, time.monotonic())
        for key, environment in zip(keys, environments, strict=True)
    ]
    for episode in episodes:
        _open(episode, prompts, limits)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for turn in range(limits.max_turns):
            living = [episode for episode in episodes if episode.stop_reason is None]
            if not living:
                break
            on_round(turn, len(living))
            _play_round(policy, living, turn, prompts, limits, pool, stopwatch)
    return [_trajectory(episode, policy, confinement) for episode in episodes]


def _open(episode: _Episode, prompts: PromptManager, limits: EpisodeLimits) -> None:
    competition = episode.environment.competition
    values = {
        "description": competition.description,
        "brief": competition.description.split("\n\n", 1)[0],
        "turns_left": limits.max_turns,
    }
    episode.conversation.messages += [
        Message("system", prompts.render("system", values)),
        Message("user", prompts.render("task", values)),
    ]


def _play_round(
    policy: Policy,
    living: Sequence[_Episode],
    turn: int,
    prompts: PromptManager,
    limits: EpisodeLimits,
    pool: ThreadPoolExecutor,
    stopwatch: Stopwatch,
) -> None:
    started = time.perf_counter()
    with stopwatch.phase("generate"):
        responses = policy.respond(
            [episode.conversation for episode in living],
            [episode.key.turn_seed(turn) for episode in living],
        )
    seconds = (time.perf_counter() - started) / len(living)
    with stopwatch.phase("execute"):
        steps = [
            None if response.finish == "context" else pool.submit(_step, episode, response)
            for episode, response in zip(living, responses, strict=True)
        ]
        wait([step for step in steps if step is not None])
    for episode, response, step in zip(living, responses, steps, strict=True):
        if step is None:
            episode.stop_reason = "context"
            continue
        _record(episode, response, step.result(), seconds, prompts, limits)


def _step(episode: _Episode, response: Response) -> Feedback:
    if response.finish == "length":
        return Feedback("unparsable", "unparsable", message="the answer is too long")
    return episode.environment.step(parse_action(response.text))


def _record(
    episode: _Episode,
    response: Response,
    feedback: Feedback,
    generate_seconds: float,
    prompts: PromptManager,
    limits: EpisodeLimits,
) -> None:
    turns_left = limits.max_turns - len(episode.turns) - 1
    observation = _observation(episode, feedback, prompts, limits, turns_left)
    action = parse_action(response.text)
    episode.turns.append(
        Turn(
            action="invalid" if feedback.outcome == "unparsable" else action.kind,
            text=response.text,
            outcome=feedback.outcome,
            error=feedback.error,
            observation=observation,
            raw_score=feedback.raw_score,
            position_score=feedback.position_score,
            submission=feedback.submission,
            generate_seconds=generate_seconds,
            execute_seconds=feedback.execute_seconds,
            grade_seconds=feedback.grade_seconds,
            hack_attempts=feedback.attempts,
            first_token=response.first_token,
            last_token=response.last_token,
        )
    )
    episode.conversation.messages += [
        Message("assistant", response.text),
        Message("user", observation),
    ]
    if turns_left == 0:
        episode.stop_reason = "max_turns"
    elif time.monotonic() - episode.started > limits.seconds:
        episode.stop_reason = "seconds"


def _observation(
    episode: _Episode,
    feedback: Feedback,
    prompts: PromptManager,
    limits: EpisodeLimits,
    turns_left: int,
) -> str:
    metric = episode.environment.competition.metric
    return prompts.render(
        feedback.template,
        {
            "message": head_and_tail(feedback.message, limits.output_characters),
            "error": head_and_tail(
                f"{feedback.error}: {feedback.message}", limits.output_characters
            ),
            "output": head_and_tail(feedback.output, limits.output_characters),
            "raw_score": feedback.raw_score,
            "position_score": feedback.position_score,
            "best_position": episode.environment.best_position,
            "metric": metric.name,
            "higher_is_better": metric.higher_is_better,
            "turns_left": turns_left,
        },
    )


def _trajectory(episode: _Episode, policy: Policy, confinement: str) -> Trajectory:
    if not episode.turns or episode.stop_reason is None:
        competition = episode.environment.competition.name
        raise RuntimeError(
            f"episode {episode.key.episode} of {competition} ended without a turn "
            f"(stop reason {episode.stop_reason}): the prompt must fit into context_tokens"
        )
    conversation = episode.conversation
    return Trajectory(
        competition=episode.environment.competition.name,
        group=episode.environment.competition.group,
        policy=policy.name,
        seed=episode.key.seed,
        iteration=episode.key.iteration,
        shard=episode.key.shard,
        episode=episode.key.episode,
        messages=tuple(conversation.messages),
        turns=tuple(episode.turns),
        token_ids=np.asarray(conversation.token_ids, dtype=np.int32),
        action_mask=np.asarray(conversation.action_mask, dtype=np.int8),
        logprobs=np.asarray(conversation.logprobs, dtype=np.float32),
        temperature=policy.temperature,
        stop_reason=episode.stop_reason,
        sandbox=confinement,
    )
