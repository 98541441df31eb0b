"""MLE-Dojo's own agents, MLE agent and AIDE, as a `Policy`: yardsticks that play by our rules.

An agent is driven by a model behind an API. It words the prompts, searches and reads answers as in
upstream's checkout; the actions that it comes to are carried out by the study's engine like any
policy's, so that no program runs in upstream's unconfined runner. Three things differ from runs of
upstream's: temperature, length of an answer and number of turns are the study's; an answer in which
no action can be found costs a turn, where upstream gives up; and what scores are told is up to the
study (`environment.scoring`).

What was said in a turn is kept in the text of the answer, as JSON before the action. From that and
the observations the agent is rebuilt for every turn (`mledojo_agents_child`).
"""

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from agent.core.actions import format_action
from agent.core.base_agent import Response
from agent.core.records import Conversation, Message
from agent.wrappers.api_policy import ApiPolicy

UpstreamAgent = Literal["mle_agent", "aide"]
PROMPTS = Path(__file__).with_suffix(".yaml")  # how the engine's answers reach the agents
_PROJECT = Path(__file__).parents[2]
_CHILD = "agent.wrappers.mledojo_agents_child"


class UpstreamAgents:
    """A `Policy` for episodes with `PROMPTS` and tool calls; use as a context manager.

    public: the folder of each competition's public files, of which AIDE shows its model a part.
    program_seconds and seconds: what a program and an episode may take, as the agents tell.
    Raises `RuntimeError` when upstream's code fails in a way that is no answer's fault.
    """

    in_rounds = False

    def __init__(
        self,
        agent: UpstreamAgent,
        model: ApiPolicy,
        checkout: Path,
        public: Mapping[str, Path],
        program_seconds: float,
        seconds: float,
    ) -> None:
        if not (checkout / "mledojo/agent").is_dir():
            raise ValueError(f"mle_dojo.checkout: {checkout} holds no MLE-Dojo: correct it")
        self.name, self.temperature = model.name, model.temperature
        self._agent, self._model, self._checkout = agent, model, checkout.resolve()
        self._public = {name: str(folder.resolve()) for name, folder in public.items()}
        self._program_seconds, self._seconds = program_seconds, seconds
        self._ends: dict[tuple[str, int], float] = {}  # of an episode, by what its first turn was
        self._asking = threading.Lock()

    def __enter__(self) -> "UpstreamAgents":
        self._folder = tempfile.TemporaryDirectory(prefix="agents-")
        self._process = self._start()
        self._ask({"checkout": str(self._checkout), "agent": self._agent})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def respond(
        self, conversations: Sequence[Conversation], seeds: Sequence[int]
    ) -> list[Response]:
        return [self._respond(*pair) for pair in zip(conversations, seeds, strict=True)]

    def _respond(self, conversation: Conversation, seed: int) -> Response:
        """Ask the model what the agent wants to know, until it has come to an action."""
        task, turns = _played(conversation)
        answers: list[str] = []
        left = self._seconds_left(task["competition"], seed, turns)
        turn = {"seed": seed, "seconds_left": left, "answers": answers}
        request = {
            "task": task,
            "public": self._public[task["competition"]],
            "program_seconds": self._program_seconds,
            "turns": [*turns, {**turn, "observation": None}],
        }
        while "ask" in (step := self._ask(request)):
            asked = Conversation([Message(m["role"], m["content"]) for m in step["ask"]])
            answer = self._model.respond([asked], [seed + len(answers)])[0]
            if answer.finish == "context":
                return answer
            answers.append(answer.text)
        if "end" in step:  # it finds its own conversation too long
            return Response("", "context")
        if "act" in step:
            kind, argument = step["act"]
            sound = argument.encode("utf-8", "replace").decode()  # JSON may hold half a character
            return Response(
                _text(turn) + _readable(format_action(kind, sound, "tool_call")), "stop"
            )
        if not answers:
            raise RuntimeError(f"{self._place} fails at {task['competition']}: {step['failed']}")
        return Response(_text({**turn, "failed": step["failed"]}), "stop")

    def _seconds_left(self, competition: str, seed: int, turns: Sequence[dict[str, Any]]) -> int:
        """Of the episode; what an earlier process has begun goes on with what it was told last."""
        first = turns[0]["seed"] if turns else seed
        left = turns[-1]["seconds_left"] if turns else self._seconds
        end = self._ends.setdefault((competition, first), time.monotonic() + left)
        return max(0, int(end - time.monotonic()))

    @property
    def _place(self) -> str:
        return f"mle_dojo.checkout: {self._checkout}: {self._agent}"

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The child's answer; RuntimeError when none comes."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._asking:
            try:
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
                return json.loads(self._process.stdout.readline())
            except (OSError, json.JSONDecodeError):
                status = self._process.wait()
                told = (Path(self._folder.name) / "stderr").read_text(errors="replace").splitlines()
                raise RuntimeError(
                    f"{self._place} ended (status {status}): {(told or ['it said nothing'])[-1]}; "
                    "check that pip installed the extra mle-dojo"
                ) from None

    def _start(self) -> subprocess.Popen[str]:
        """The process sees neither keys nor other variables of this one."""
        with (Path(self._folder.name) / "stderr").open("w") as stderr:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", _CHILD],
                env={"PYTHONPATH": str(_PROJECT), "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
                | {"PYTHONDONTWRITEBYTECODE": "1"},
                cwd=self._folder.name,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                encoding="utf-8",
            )


def _played(conversation: Conversation) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The task and the turns so far, as `PROMPTS` and `_text` have written them."""
    _, task, *played = (message.content for message in conversation.messages)
    turns = [
        {**json.JSONDecoder(strict=False).raw_decode(text)[0], "observation": json.loads(told)}
        for text, told in zip(played[::2], played[1::2], strict=True)
    ]
    return json.loads(task), turns


def _text(turn: dict[str, Any]) -> str:
    """The record of a turn, in which nothing reads like an action."""
    return _readable(json.dumps(turn).replace("<tool_call>", r"\u003ctool_call>")) + "\n"


def _readable(record: str) -> str:
    """JSON with its newlines as they are, for who reads episodes; our readers take both."""
    return re.sub(r"\\(.)", lambda escape: "\n" if escape[1] == "n" else escape[0], record)
