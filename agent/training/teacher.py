"""Who plays the warm start's episodes: a script that writes random programs and reacts to scores.

The teacher knows what can run, not what scores: programs are drawn without regard to metric or
condition. It does react: a failure is followed by the mended program, a low position by another
model family, a high one by a variation of the same program.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.core.actions import INFO_TYPES, format_action, parse_action
from agent.core.records import Conversation
from agent.training.grammar import ProgramChoices, Task, random_program, vary, with_slip

# Of the reference pool, the share that a good program beats: below, another model family is worth
# more than another argument. Policies inherit the habit, also once their programs are decent.
_GOOD = 0.8
_POSITION = re.compile(r"^position: ([0-9.]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TeacherSettings:
    programs_per_competition: int  # drawn once, so that each is executed once
    mistakes: float  # share of programs with a decision that does not fit the task
    slips: float  # share of executions that start with a beginner's slip
    other_actions: float  # share of turns spent on validate_code, request_info and get_history


def read_task(description: str) -> Task:
    """What a program must respect, read from the lines the agent reads too."""
    facts = dict(re.findall(r"^(\w+): (.*)$", description, re.MULTILINE))
    classification = "classification" in facts["task"]
    asked = facts["submission"]
    if not classification:
        positive = "not negative" in asked or "above zero" in asked
        output = "positive values" if positive else "values"
    elif "p0" in asked:
        output = "probabilities"
    else:
        output = "probability" if "probability" in asked else "labels"
    return Task(
        metric=facts["metric"],
        condition=facts["condition"],
        classification=classification,
        output=output,
        has_lags="lag1" in facts.get("order", ""),
    )


@dataclass(frozen=True, slots=True)
class Attempt:
    choices: ProgramChoices
    source: str
    slipped: str  # the same program with a slip


def draw_attempts(task: Task, settings: TeacherSettings, rng: np.random.Generator) -> list[Attempt]:
    """The programs a competition is played with: random ones, each with one variation."""
    attempts = []
    for _ in range(settings.programs_per_competition // 2):
        choices = random_program(task, settings.mistakes, rng)
        for program in (choices, vary(choices, task, rng)):
            source = program.source()
            attempts.append(Attempt(program, source, with_slip(source, rng)))
    return attempts


class Teacher:
    """The `scripted_policy.Script` of one competition, which it plays with these `attempts`."""

    def __init__(self, attempts: Sequence[Attempt], settings: TeacherSettings) -> None:
        self._attempts = attempts
        self._settings = settings

    def __call__(self, conversation: Conversation, rng: np.random.Generator) -> str:
        if rng.random() < self._settings.other_actions:
            return _other_action(self._attempts, rng)
        attempt = self._next_attempt(conversation, rng)
        failed = "crashed" in conversation.messages[-1].content
        slip = not failed and rng.random() < self._settings.slips
        return format_action("execute_code", attempt.slipped if slip else attempt.source)

    def _next_attempt(self, conversation: Conversation, rng: np.random.Generator) -> Attempt:
        attempts = self._attempts
        last = _last_attempt(conversation, attempts)
        if last is None:
            return _choose(attempts, rng)
        observation = conversation.messages[-1].content
        position = _POSITION.search(observation)
        if position is None:  # mend a slip; a program that fails for other reasons is given up
            code = parse_action(conversation.messages[-2].content).argument
            return last if code.strip() == last.slipped.strip() else _choose(attempts, rng)
        same = [a for a in attempts if a.choices.family == last.choices.family and a is not last]
        other = [a for a in attempts if a.choices.family != last.choices.family]
        wanted = same if float(position[1]) >= _GOOD and rng.random() < 0.7 else other
        return _choose(wanted or attempts, rng)


def _last_attempt(conversation: Conversation, attempts: Sequence[Attempt]) -> Attempt | None:
    for message in reversed(conversation.messages):
        if message.role == "assistant":
            code = parse_action(message.content).argument.strip()
            for attempt in attempts:
                if code in (attempt.source.strip(), attempt.slipped.strip()):
                    return attempt
    return None


def _other_action(attempts: Sequence[Attempt], rng: np.random.Generator) -> str:
    kind = rng.integers(4)
    if kind == 0:
        return format_action("request_info", INFO_TYPES[int(rng.integers(len(INFO_TYPES)))])
    if kind == 1:
        return format_action("get_history")
    return format_action("validate_code", _choose(attempts, rng).source)


def _choose(attempts: Sequence[Attempt], rng: np.random.Generator) -> Attempt:
    return attempts[int(rng.integers(len(attempts)))]
