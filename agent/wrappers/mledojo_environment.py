"""MLE-Dojo's own environment behind our `Environment`: the engine that ours is measured against.

Programs run as upstream runs them: cold, as this user, with its network and with a view of
everything this user may read, the answers included. So it is for trusted programs only.

What an agent gets to see is worded as with our engine, since upstream's words hold paths and times
of the machine: questions are answered here, and only programs are passed on. Programs start in a
new folder with a copy of the public files, as with our engine, so that the same program does the
same in both and no submission of an earlier one is scored. Three more of upstream's ways are not
followed: rewards are not summed, its history is never asked for, and a raw score that is not finite
makes a submission invalid (upstream ranks infinity first and NaN last).
"""

import base64
import json
import math
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from agent.core.actions import Action
from agent.core.competition import Competition
from agent.core.environment import CompetitionEnvironment, Execution, Feedback
from agent.core.records import Outcome
from agent.wrappers.mledojo_metrics import UpstreamMetric

CONFINEMENT = "none (MLE-Dojo's own runner)"  # what trajectories say of their sandbox
_PROJECT = Path(__file__).parents[2]
_CHILD = Path(__file__).with_name("mledojo_child.py")
_GRACE = 600.0  # s for the child to import, to compile and to grade, beside running a program
_INVALID = ("InvalidSubmissionError", "EvaluationError")  # what upstream says of a submission


@dataclass(frozen=True, slots=True)
class UpstreamLimits:
    """What upstream's runner can limit and also report."""

    seconds: float
    memory_gb: int | None  # of the address space of each process
    output_kb: int  # kept from each end of what a program prints


class UpstreamEnvironment(CompetitionEnvironment):
    """One episode with upstream's engine, in a process of its own; `close` it, or use `with`.

    The competition must be open for both halves, because upstream grades on all answers, and lie
    beside its private files as `prepare` leaves it. The process starts with the first program.
    Steps may come from any thread, one at a time. Raises `RuntimeError` when upstream fails in a
    way that is no submission's fault, or when its process dies.
    """

    def __init__(
        self,
        competition: Competition,
        checkout: Path,
        limits: UpstreamLimits,
        scored_submissions: int,
    ) -> None:
        if competition.half != "both":
            raise ValueError(
                f"{competition.name}: open for the {competition.half} half, but MLE-Dojo's own "
                "engine grades on all answers: open it for both"
            )
        if not (checkout / "mledojo/gym/env.py").is_file():
            raise ValueError(f"mle_dojo.checkout: {checkout} holds no MLE-Dojo: correct it")
        self.competition = competition
        self.scored_submissions = scored_submissions
        self.best_position = 0.0
        self.history: list[str] = []
        self.limits = limits
        self._checkout = checkout.resolve()
        self._process: subprocess.Popen[str] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="upstream-")).resolve()

    def __enter__(self) -> "UpstreamEnvironment":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process with what it runs, and remove its files."""
        if self._process is not None:
            self._process.terminate()  # upstream then ends the program that is running
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10.0)
            self._kill(self._process)
            self._process.communicate()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, action: Action) -> Feedback:
        if action.kind == "execute_code" and self.scored_submissions == 0:
            used_up = "no scored submission is left; validate_code still runs programs"
            return Feedback("refused", "refused", "no_scores_left", used_up)
        with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as made:
            folder = Path(made) / "work"
            shutil.copytree(self.competition.public, folder)
            # Upstream takes no empty program.
            request = {"action": action.kind, "code": action.argument or "\n"}
            self._open()
            started = time.perf_counter()
            result = self._result(self._ask(request | {"folder": str(folder)}))
            seconds = time.perf_counter() - started
            run = _execution(result, folder, self.limits)
        facts = Feedback(
            run.outcome,
            run.outcome,
            run.error,
            run.message,
            run.output,
            execute_seconds=run.seconds,
            attempts=self._leaks(action.argument, run),
        )
        if run.outcome != "ok":
            return facts
        if action.kind == "validate_code":
            return replace(facts, template="validated")
        graded = replace(facts, grade_seconds=max(0.0, seconds - run.seconds))
        return self._judge(graded, result["submission"], run.submission)

    def _judge(self, facts: Feedback, found: dict[str, Any], submission: bytes | None) -> Feedback:
        """The feedback on what upstream found of a submission."""
        if any(attempt.startswith("canary") for attempt in facts.attempts):
            reason = "what this program printed or submitted is not public"
            return _invalid(facts, "refused_file", reason)
        kind = found.get("error_type")
        if kind == "SubmissionNotFoundError":
            return replace(facts, template="no_submission", outcome="no_submission")
        facts = replace(facts, submission=submission)
        if kind in _INVALID:
            return _invalid(facts, "invalid_submission", str(found["details"]))
        boards = found.get("position_score") or {}
        if found["status"] != "SUCCESS" or "avg_score" not in boards:
            self._fail(f"cannot grade: {found.get('error', 'it has no leaderboard')}", found)
        raw, position = float(found["raw_score"]), float(boards["avg_score"])
        if not math.isfinite(raw):
            name = self.competition.metric.name
            return _invalid(
                facts, "invalid_submission", f"wrong values: their {name} is not finite"
            )
        return replace(facts, template="scored", raw_score=raw, position_score=position)

    def _result(self, answer: dict[str, Any]) -> dict[str, Any]:
        """What upstream found, which may be complete although it raised afterwards."""
        result = answer["result"]
        if result is None:
            self._fail("raised", {"details": answer["raised"]})
        ran = result.get("execution") or result["runtime"]
        if "output" not in ran:
            self._fail("cannot run a program", ran)
        return result

    def _fail(self, what: str, told: dict[str, Any]) -> None:
        """Raise one line about what is no program's fault."""
        details = " ".join(str(told.get("details")).split())[:300]
        raise RuntimeError(
            f"{self.competition.name}: MLE-Dojo's environment {what} ({details}): check its "
            f"prepared files and mle_dojo.checkout {self._checkout}"
        )

    def _open(self) -> None:
        """Start the process unless it runs; upstream's import takes seconds."""
        if self._process is None:
            self._process = self._start()
            self._ask(self._settings() | {"action": "start"})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request and its answer; RuntimeError when none comes."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        watchdog = threading.Timer(self.limits.seconds + _GRACE, self._kill, [process])
        watchdog.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())
        except (OSError, json.JSONDecodeError):
            self._kill(process)
            stderr = (self._folder / "stderr").read_text(errors="replace")
            told = (stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise RuntimeError(
                f"{self.competition.name}: the process of MLE-Dojo's environment ended (status "
                f"{process.wait()}) at {request['action']}: {told}; check "
                f"mle_dojo.checkout {self._checkout} and that pip installed the extra mle-dojo"
            ) from None
        finally:
            watchdog.cancel()

    def _start(self) -> subprocess.Popen[str]:
        with (self._folder / "stderr").open("w") as stderr:
            return subprocess.Popen(
                [sys.executable, "-P", str(_CHILD)],
                env=_environment(),
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                encoding="utf-8",
                start_new_session=True,
            )

    def _settings(self) -> dict[str, Any]:
        metric = self.competition.metric
        own = not isinstance(metric, UpstreamMetric)
        return {
            "checkout": str(self._checkout),
            "project": str(_PROJECT),
            "name": self.competition.name,
            "data": str(self.competition.public.resolve().parent),
            "output": str(self._folder / "output"),
            "seconds": self.limits.seconds,
            "memory_gb": self.limits.memory_gb,
            "metric": base64.b64encode(pickle.dumps(metric)).decode() if own else None,
        }

    @staticmethod
    def _kill(process: subprocess.Popen[str]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _environment() -> dict[str, str]:
    """Upstream runs what PATH has as python3, and passes all of this on to programs."""
    interpreter = Path(sys.executable).parent
    if not (interpreter / "python3").exists():
        raise RuntimeError(
            f"{interpreter}: holds no python3, by which name MLE-Dojo starts programs: "
            "make it a link to this interpreter"
        )
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        "PATH": f"{interpreter}:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    } | dict.fromkeys(threads, "1")


def _execution(result: dict[str, Any], folder: Path, limits: UpstreamLimits) -> Execution:
    """What upstream tells of a run: its output, seconds to two places, and no exit status."""
    ran = result.get("execution") or result["runtime"]
    seconds = float(ran["execution_time"].rstrip("s"))
    text = ((ran["output"] or "") + (ran["error"] or "")).replace(str(folder), ".")
    output = _ends(text, limits.output_kb << 10)
    if ran["status"] == "SUCCESS":
        return Execution("ok", "", "", output, _submission(folder), "", seconds)
    # Upstream times a program twice; it says so only when the one that raises is the first.
    if seconds >= limits.seconds - 0.005:
        return Execution("timed_out", "", "", "", None, "", seconds)
    error, message = _last_error(text)
    return Execution("crashed", error, message, output, None, "", seconds)


def _submission(folder: Path) -> bytes | None:
    """The file that upstream has renamed last."""
    archived = folder.glob("submission_*.csv")
    newest = max(archived, key=lambda path: path.lstat().st_ctime_ns, default=None)
    return newest.read_bytes() if newest and newest.is_file() else None


def _last_error(text: str) -> tuple[str, str]:
    """Kind and message of the exception that a traceback ends with."""
    trace = text.rpartition("Traceback (most recent call last):\n")[2]
    lines = [line for line in trace.splitlines() if re.match(r"[A-Za-z_][\w.]*(:|$)", line)]
    if not lines:
        return "Killed", "the program ended without an error message"
    kind, _, message = lines[-1].partition(":")
    return kind.rpartition(".")[2], message.strip()


def _ends(text: str, keep: int) -> str:
    return text if len(text) <= 2 * keep else f"{text[:keep]}\n[...]\n{text[-keep:]}"


def _invalid(facts: Feedback, error: str, message: str) -> Feedback:
    outcome: Outcome = "invalid_submission"
    return replace(facts, template=outcome, outcome=outcome, error=error, message=message)
