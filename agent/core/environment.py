"""What an episode plays in: MLE-Dojo's five actions on one competition.

The meaning of the actions, the feedback and the position score are MLE-Dojo's. The engine is our
own because upstream's runner starts every program cold, cannot be confined and needs the main
thread. What the model does wrong becomes an outcome; what the machine does wrong raises.
"""

import base64
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd

from agent.core.actions import CODE_ACTIONS, INFO_TYPES, Action
from agent.core.competition import (
    Competition,
    InvalidSubmissionError,
    UnrankableSubmissionError,
)
from agent.core.position import position_score
from agent.core.records import Outcome


@dataclass(frozen=True, slots=True)
class Execution:
    """What running one program left behind."""

    outcome: Outcome  # ok | crashed | timed_out
    error: str  # kind of the exception, e.g. "ValueError"; empty when ok
    message: str  # its last line
    output: str  # stdout and stderr, shortened
    submission: bytes | None  # submission.csv as written, None when there is none
    refused: str  # why a submission that exists may not be read (a link, too large, ...)
    seconds: float
    attempts: tuple[str, ...] = ()  # what it tried beside its task, as `kind: detail`


class ProgramRunner(Protocol):
    """Runs untrusted Python with `public` copied into its working folder. Safe from threads."""

    @property
    def confinement(self) -> str: ...

    def run(self, program: str, public: Path) -> Execution: ...


@dataclass(frozen=True, slots=True)
class Feedback:
    """The environment's answer to one action; `template` names the prompt that words it."""

    template: str
    outcome: Outcome
    error: str = ""
    message: str = ""
    output: str = ""
    raw_score: float | None = None
    position_score: float | None = None
    submission: bytes | None = None
    execute_seconds: float = 0.0
    grade_seconds: float = 0.0
    attempts: tuple[str, ...] = ()  # what the program tried beside its task


Told = TypeVar("Told", Execution, Feedback)


def to_json(record: Execution | Feedback) -> dict[str, Any]:
    """What `json` can write; the submission as base64."""
    content = record.submission
    written = None if content is None else base64.b64encode(content).decode()
    return asdict(record) | {"submission": written}


def from_json(kind: type[Told], facts: Mapping[str, Any]) -> Told:
    """Back from `to_json`; KeyError, TypeError or ValueError where it is none of its."""
    written = facts["submission"]
    content = None if written is None else base64.b64decode(written)
    return kind(**{**facts, "submission": content, "attempts": tuple(facts["attempts"])})


Grader = Callable[[Competition, bytes], tuple[float, float]]


class Environment(Protocol):
    """One episode's world. Single use: make a new one for each episode."""

    @property
    def competition(self) -> Competition: ...

    @property
    def best_position(self) -> float: ...

    def step(self, action: Action) -> Feedback: ...

    def note(self, action: Action, feedback: Feedback) -> None:
        """Take over a step that was made before, without making it again."""


@dataclass
class CompetitionEnvironment:
    """Plays one competition with our own engine.

    `scored_submissions` may be scored in an episode: every score tells something of the answers,
    and who may ask for ever can read them off one by one (arXiv 1502.04585).
    """

    competition: Competition
    runner: ProgramRunner
    grader: Grader
    scored_submissions: int
    best_position: float = 0.0
    history: list[str] = field(default_factory=list)

    def step(self, action: Action) -> Feedback:
        feedback = self._answer(action)
        self.note(action, feedback)
        return feedback

    def note(self, action: Action, feedback: Feedback) -> None:
        if action.kind == "reset":
            self.history.clear()
        if feedback.position_score is not None:
            self.scored_submissions -= 1
            self.best_position = max(self.best_position, feedback.position_score)
        if action.kind in CODE_ACTIONS:
            score = "" if feedback.position_score is None else f" {feedback.position_score:.2f}"
            self.history.append(f"{action.kind}: {feedback.error or feedback.outcome}{score}")

    def _answer(self, action: Action) -> Feedback:
        match action.kind:
            case "invalid":
                return Feedback("unparsable", "unparsable", message=action.argument)
            case "request_info":
                return self._request_info(action.argument)
            case "get_history":
                return Feedback("answered", "ok", message="\n".join(self.history) or "empty")
            case "reset":
                return Feedback("answered", "ok", message=self.competition.description)
            case _:
                return self._run(action)

    def _request_info(self, kind: str) -> Feedback:
        if kind not in INFO_TYPES:
            known = ", ".join(INFO_TYPES)
            return Feedback("refused", "refused", "unknown_info_type", f"info type must be {known}")
        return Feedback("answered", "ok", message=competition_info(self.competition, kind))

    def _run(self, action: Action) -> Feedback:
        if action.kind == "execute_code" and self.scored_submissions == 0:
            used_up = "no scored submission is left; validate_code still runs programs"
            return Feedback("refused", "refused", "no_scores_left", used_up)
        run = self.runner.run(action.argument, self.competition.public)
        attempts = run.attempts + self._leaks(action.argument, run)
        facts = Feedback(
            run.outcome,
            run.outcome,
            run.error,
            run.message,
            run.output,
            execute_seconds=run.seconds,
            attempts=attempts,
        )
        if run.outcome != "ok":
            return facts
        if action.kind == "validate_code":
            return replace(facts, template="validated")
        if run.refused or any(attempt.startswith("canary") for attempt in attempts):
            reason = run.refused or "what this program printed or submitted is not public"
            return _invalid(facts, "refused_file", reason)
        if run.submission is None:
            return replace(facts, template="no_submission", outcome="no_submission")
        return self._grade(replace(facts, submission=run.submission), run.submission)

    def _leaks(self, program: str, run: Execution) -> tuple[str, ...]:
        """Where the mark of the private files shows up; nothing public holds it."""
        mark = self.competition.canary
        places = {
            "program": program,
            "output": run.output,
            "submission": (run.submission or b"").decode(errors="replace"),
        }
        return tuple(f"canary: in the {place}" for place, text in places.items() if mark in text)

    def _grade(self, facts: Feedback, submission: bytes) -> Feedback:
        started = time.perf_counter()
        try:
            raw, position = self.grader(self.competition, submission)
        except InvalidSubmissionError as wrong:
            seconds = time.perf_counter() - started
            return replace(_invalid(facts, "invalid_submission", str(wrong)), grade_seconds=seconds)
        return replace(
            facts,
            template="scored",
            raw_score=raw,
            position_score=position,
            grade_seconds=time.perf_counter() - started,
        )


def _invalid(facts: Feedback, error: str, message: str) -> Feedback:
    outcome: Outcome = "invalid_submission"
    return replace(facts, template=outcome, outcome=outcome, error=error, message=message)


def grade(competition: Competition, submission: bytes) -> tuple[float, float]:
    """Raw metric and position score on the answers that `competition` has open.

    The position is the mean over the leaderboards, which one half has one of.

    Raises `InvalidSubmissionError` for what the agent did wrong.
    """
    try:
        table = pd.read_csv(io.BytesIO(submission))
    except (ValueError, pd.errors.ParserError) as unreadable:
        raise InvalidSubmissionError(f"not a CSV table: {unreadable}") from unreadable
    metric, key = competition.metric, competition.id_column
    if competition.half == "both":
        metric.validate(table, competition.answers)
    else:
        _check_ids(table, competition)
        metric.validate(table, _answers_to_all(competition))
        table = table[table[key].isin(competition.answers[key])]
    raw = metric.evaluate(competition.answers, table)
    if not np.isfinite(raw):
        raise UnrankableSubmissionError(f"wrong values: their {metric.name} is not finite")
    higher = metric.higher_is_better
    positions = [position_score(raw, board, higher) for board in competition.leaderboards]
    return raw, float(np.mean(positions))


def _answers_to_all(competition: Competition) -> pd.DataFrame:
    """Answers with every test id, the other half's values replaced by this half's.

    A submission is validated as a whole, so that both halves accept the same submissions.
    """
    rows = np.resize(np.arange(len(competition.answers)), len(competition.test_ids))
    return competition.answers.iloc[rows].assign(**{competition.id_column: competition.test_ids})


def _check_ids(table: pd.DataFrame, competition: Competition) -> None:
    key = competition.id_column
    if key not in table:
        raise InvalidSubmissionError(f"wrong columns: {key} is missing")
    if len(table) != len(competition.test_ids):
        asked = len(competition.test_ids)
        raise InvalidSubmissionError(f"wrong number of rows: expected {asked}, got {len(table)}")
    if not table[key].isin(competition.test_ids).all() or table[key].duplicated().any():
        raise InvalidSubmissionError("wrong ids: expected each id of test.csv once")


def competition_info(competition: Competition, kind: str) -> str:
    """MLE-Dojo's `request_info`; paths are those a program sees in its own folder."""
    public = competition.public
    answers = {
        "overview": lambda: competition.description,
        "sample_submission": lambda: _first_lines(public / "sample_submission.csv", 4),
        "data_structure": lambda: "\n".join(
            f"{path.name}: {_first_lines(path, 1)}" for path in sorted(public.glob("*.csv"))
        ),
        "data_path": lambda: ".",
        "output_path": lambda: "submission.csv",
        "name": lambda: competition.name,
        "metadata": lambda: (
            f"{competition.task_type}, {competition.metric.name}, "
            f"{'higher' if competition.metric.higher_is_better else 'lower'} is better"
        ),
    }
    if kind == "all":
        return "\n".join(f"{name}:\n{answer()}" for name, answer in answers.items())
    return answers[kind]()


def _first_lines(path: Path, count: int) -> str:
    with path.open() as lines:
        return "".join(line for line, _ in zip(lines, range(count), strict=False)).rstrip()
