"""One episode: how it opens, what a turn adds to it, and the record that it becomes."""

import hashlib
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from agent.core.actions import CODE_ACTIONS, TOOLS, Action, ActionFormat, parse_action
from agent.core.base_agent import Policy, Response
from agent.core.environment import Environment, Feedback
from agent.core.prompts import SUMMARY, PromptManager, head_and_tail
from agent.core.records import Conversation, Message, StopReason, Trajectory, Turn

_ATTEMPT_CHARACTERS = 40  # about what one takes in a summary


@dataclass(frozen=True, slots=True)
class EpisodeLimits:
    max_turns: int
    output_characters: int  # of a program's output that the agent gets to see
    seconds: float  # an episode whose turns took longer together gets no further one


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
class Episode:
    """An episode as it grows."""

    key: EpisodeKey
    environment: Environment
    conversation: Conversation = field(default_factory=Conversation)
    turns: list[Turn] = field(default_factory=list)
    stop_reason: StopReason | None = None


def open_episode(
    key: EpisodeKey, environment: Environment, prompts: PromptManager, limits: EpisodeLimits
) -> Episode:
    episode = Episode(key, environment)
    if prompts.action_format == "tool_call":
        episode.conversation.tools = TOOLS
    competition = environment.competition
    values = {
        "competition": competition.name,
        "description": competition.description,
        "brief": competition.description.split("\n\n", 1)[0],
        "turns_left": limits.max_turns,
    }
    episode.conversation.messages += [
        Message("system", prompts.render("system", values)),
        Message("user", prompts.render("task", values)),
    ]
    episode.conversation.summarise = partial(summarise, episode, prompts, limits)
    return episode


def summarise(
    episode: Episode, prompts: PromptManager, limits: EpisodeLimits, characters: int
) -> str:
    """What an agent needs to go on without its earlier turns: facts, in the words of `summary`.

    `attempts` are numbers and turns of the latest programs, `left_out` how many came before them.
    Attempts, best program and last observation are shortened to about `characters` each.
    """
    attempts = [(n, turn) for n, turn in enumerate(episode.turns, 1) if turn.action in CODE_ACTIONS]
    shown = attempts[-max(1, characters // _ATTEMPT_CHARACTERS) :]
    scored = [turn for _, turn in attempts if turn.position_score is not None]
    best = max(scored, key=lambda turn: turn.position_score or 0.0, default=None)
    program = parse_action(best.text, prompts.action_format).argument if best else ""
    metric = episode.environment.competition.metric
    return prompts.render(
        SUMMARY,
        {
            "attempts": shown,
            "left_out": len(attempts) - len(shown),
            "best_program": head_and_tail(program, characters),
            "best_raw_score": best.raw_score if best else None,
            "best_position": best.position_score if best else None,
            "observation": head_and_tail(episode.turns[-1].observation, characters),
            "metric": metric.name,
            "higher_is_better": metric.higher_is_better,
            "turns_left": limits.max_turns - len(episode.turns),
        },
    )


def read_action(response: Response, form: ActionFormat) -> Action:
    """What an answer asks for; one that was cut off is no action."""
    if response.finish == "length":
        return Action("invalid", "the answer is too long")
    return parse_action(response.text, form)


def record_turn(
    episode: Episode,
    response: Response,
    feedback: Feedback,
    prompts: PromptManager,
    limits: EpisodeLimits,
) -> None:
    turns_left = limits.max_turns - len(episode.turns) - 1
    observation = _observation(episode, feedback, prompts, limits, turns_left)
    action = read_action(response, prompts.action_format).kind
    called = prompts.action_format == "tool_call" and action != "invalid"
    episode.turns.append(
        Turn(
            action=action,
            text=response.text,
            outcome=feedback.outcome,
            error=feedback.error,
            observation=observation,
            raw_score=feedback.raw_score,
            position_score=feedback.position_score,
            submission=feedback.submission,
            generate_seconds=response.generate_seconds,
            execute_seconds=feedback.execute_seconds,
            grade_seconds=feedback.grade_seconds,
            hack_attempts=feedback.attempts,
            first_token=response.first_token,
            last_token=response.last_token,
        )
    )
    episode.conversation.messages += [
        Message("assistant", response.text),
        Message("tool" if called else "user", observation),
    ]
    if turns_left == 0:
        episode.stop_reason = "max_turns"
    elif sum(turn.seconds for turn in episode.turns) > limits.seconds:
        episode.stop_reason = "seconds"


def _observation(
    episode: Episode,
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


def to_trajectory(episode: Episode, policy: Policy, confinement: str) -> Trajectory:
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
        segments=tuple(conversation.segments),
    )
