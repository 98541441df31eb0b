"""What each engine says of a submission or a program."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from sandboxes import limits

from agent.core.competition import Competition
from agent.core.environment import CompetitionEnvironment, Environment, Execution, Feedback, grade
from agent.sandbox.runner import WarmRunner
from agent.wrappers import mledojo_child
from agent.wrappers.mledojo_environment import UpstreamEnvironment, UpstreamLimits
from parity.programs import PROGRAMS, SECONDS, Played

UNLIMITED = 10**6
LIMITS = UpstreamLimits(SECONDS, None, 2)


@dataclass(frozen=True)
class Verdict:
    """What came of one action; scores are None unless it was scored."""

    status: str
    raw: float | None
    position: float | None


@dataclass(frozen=True)
class Place:
    """Where upstream placed a score on one board, with the two entries around it."""

    entries: int
    better: int  # entries above the score
    above: float | None  # the worst of these
    below: float | None  # the best of the others


def verdict(feedback: Feedback) -> Verdict:
    """Unrankable is what has a raw score that is not finite.

    Upstream itself gives infinity the first place of any board, and NaN the last.
    """
    status = {"invalid_submission": "invalid"}.get(feedback.template, feedback.template)
    if status == "invalid" and feedback.message.endswith(" is not finite"):
        status = "unrankable"
    return Verdict(status, feedback.raw_score, feedback.position_score)


@dataclass
class _Writer:
    """A runner whose programs leave a given file."""

    submission: bytes = b""
    confinement: str = "none"

    def run(self, program: str, public: Path) -> Execution:
        return Execution("ok", "", "", "", self.submission, "", 0.0)


@dataclass
class _UpstreamWriter:
    """The same for upstream, which starts a program's file where its submission is looked for."""

    submission: bytes = b""
    facts: dict[str, Any] = field(
        default_factory=lambda: {"status": 0, "stdout": "", "stderr": "", "execution_time": 0.0}
    )

    def run_code(self, program: str) -> dict[str, Any]:
        Path(program).with_name("submission.csv").write_bytes(self.submission)
        return self.facts


class InProcess(UpstreamEnvironment):
    """Upstream's environment in this process, with a runner that only writes a file."""

    def __init__(self, competition: Competition, checkout: Path) -> None:
        super().__init__(competition, checkout, LIMITS, UNLIMITED)
        self.writer = _UpstreamWriter()
        self.answer: dict[str, Any] = {}
        with _silence():
            opened = mledojo_child.open_environment(self._settings())
        self._environment, self._results = opened
        self._environment.sandbox = self.writer

    def _open(self) -> None:
        pass

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with _silence():
            self.answer = mledojo_child.step(self._environment, self._results, request)
        return self.answer

    def close(self) -> None:
        super().close()
        tempfile.tempdir = None

    def places(self) -> list[dict[str, Any]]:
        return list(self.answer["result"]["submission"]["position_score"].values())


@contextmanager
def _silence() -> Iterator[None]:
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield


def judge_here(competition: Competition, files: dict[str, bytes]) -> dict[str, Verdict]:
    """Our engine's verdict on every submission."""
    verdicts = {}
    for name, content in files.items():
        environment = CompetitionEnvironment(competition, _Writer(content), grade, UNLIMITED)
        with _silence():
            verdicts[name] = verdict(environment.step(PROGRAMS[0].action))
    return verdicts


def judge_upstream(
    competition: Competition, checkout: Path, files: dict[str, bytes]
) -> tuple[dict[str, Verdict], dict[str, list[Place]]]:
    """Upstream's verdict on every submission, by one environment; and where it placed them."""
    verdicts, places = {}, {}
    with InProcess(competition, checkout) as environment:
        assert isinstance(environment, InProcess)
        for name, content in files.items():
            environment.writer.submission = content
            verdicts[name] = verdict(environment.step(PROGRAMS[0].action))
            if verdicts[name].status == "scored":
                boards = zip(competition.leaderboards, environment.places(), strict=False)
                higher = competition.metric.higher_is_better
                places[name] = [_place(board, told["position"], higher) for board, told in boards]
    return verdicts, places


def _place(board: Any, position: int, higher: bool) -> Place:
    """From upstream's position, which counts from 1: all entries before it are better."""
    ordered = sorted(map(float, board), reverse=higher)
    better = position - 1
    above = ordered[better - 1] if better else None
    below = ordered[better] if better < len(ordered) else None
    return Place(len(ordered), better, above, below)


def play_here(competition: Competition) -> dict[str, Verdict]:
    """Our engine's verdicts on all programs, in one episode."""
    with WarmRunner(limits(seconds=SECONDS), ["pandas"]) as runner:
        return _play(CompetitionEnvironment(competition, runner, grade, UNLIMITED), PROGRAMS)


def play_upstream(competition: Competition, checkout: Path) -> dict[str, Verdict]:
    """Upstream's, with programs run as upstream runs them."""
    with UpstreamEnvironment(competition, checkout, LIMITS, UNLIMITED) as environment:
        return _play(environment, PROGRAMS)


def _play(environment: Environment, programs: Sequence[Played]) -> dict[str, Verdict]:
    return {played.name: verdict(environment.step(played.action)) for played in programs}
