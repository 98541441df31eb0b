"""Lets MLE-Dojo's own agents decide: the child process of `mledojo_agents`.

Upstream's agents hold their state in an object and ask their model in the middle of a step. Here a
request carries all that a model and an environment have said to one so far; a new agent is told it
again, at no cost, and the first thing that is missing is the answer: a question to the model, or an
action. So nothing is kept between requests, and an episode goes on in any process.

Stand-ins are put in the place of what the agents would import to reach a model themselves: their
chat client (with it openai, anthropic and dotenv), google-genai, the module that reads AIDE's
configuration and copies data (with it omegaconf, igraph and others), and tiktoken, whose vocabulary
is a download: a token counts as four bytes. The agents, their prompts, search and parsing are the
checkout's, and so are their settings.
"""

import json
import random
import signal
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import yaml

from agent.wrappers.mledojo_child import private_pipes, say

_SECONDS = 10.0  # for one turn, its model's time not counted; some of upstream's patterns explode
_BYTES_OF_TOKEN = 4
_UNKNOWN_FOLDER = (
    "`./input` directory",
    "`.` directory",
)  # of AIDE's prompt; files lie in the last

Turn = dict[str, Any]  # seed, seconds_left, answers, observation
Take = Callable[[Turn], dict[str, Any]]  # one turn of an agent and the action it ends with


class _Asked(BaseException):
    """The agent asks its model; no `Exception`, for upstream catches all of those."""


class _Acted(BaseException):
    """The agent runs a program."""


def main() -> None:
    """Serve requests until there are none; the first line says which agent of which checkout."""
    requests, answers = private_pipes()
    settings = json.loads(requests.readline())
    checkout = Path(settings["checkout"])
    pending: list[str] = []  # answers of the model that its agent has not had yet
    sys.path.append(str(checkout))
    _stand_in(pending)
    begin = {"mle_agent": _open_mle_agent, "aide": _open_aide}[settings["agent"]](checkout)
    signal.signal(signal.SIGALRM, _too_slow)
    say(answers, {"ready": True})
    for line in requests:
        request = json.loads(line)
        say(answers, _decide(begin(request), request["turns"], pending))


def _decide(take: Take, turns: list[Turn], pending: list[str]) -> dict[str, Any]:
    """What the last of the turns comes to; earlier ones only bring the agent where it was."""
    result: dict[str, Any] = {}
    for turn in turns:
        pending[:] = turn["answers"]
        random.seed(turn["seed"])
        signal.setitimer(signal.ITIMER_REAL, _SECONDS)
        try:
            result = take(turn)
        except _Asked as asked:
            result = {"ask": asked.args[0]}
        except _Acted as acted:
            result = {"act": acted.args}
        except Exception as error:
            result = {"failed": f"{type(error).__name__}: {error}"}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
    return result


def _open_mle_agent(checkout: Path) -> Callable[[dict[str, Any]], Take]:
    from mledojo.agent.mleagent.buildup import setup_mle_agent

    settings = yaml.safe_load((checkout / "mledojo/agent/mleagent/config.yaml").read_text())

    def begin(request: dict[str, Any]) -> Take:
        agent, last = setup_mle_agent(settings), request["task"]

        def take(turn: Turn) -> dict[str, Any]:
            nonlocal last
            told = last
            last = turn["observation"]
            observation = _observation(told, {}) if "status" in told else None
            action, parameters = agent.act(observation, told["turns_left"], turn["seconds_left"])
            if action in ("End", "Error"):  # what the agent says instead of an action, and why
                return {"end" if action == "End" else "failed": parameters}
            return {"act": [action, *parameters.values()]}

        return take

    return begin


def _open_aide(checkout: Path) -> Callable[[dict[str, Any]], Take]:
    from mledojo.agent.aide import agent as aide
    from mledojo.agent.aide.journal import Journal

    # What takes time is done once, not each time that an agent is told its past again.
    aide.data_preview.generate = cache(aide.data_preview.generate)
    aide.extract_code = cache(aide.extract_code)
    settings = (checkout / "mledojo/agent/aide/utils/config.yaml").read_text()

    def begin(request: dict[str, Any]) -> Take:
        config = _namespace(yaml.safe_load(settings))
        config.workspace_dir = Path(request["public"])
        config.exec.timeout = request["program_seconds"]
        aide.data_preview.generate(config.workspace_dir)  # reads the data once, in its own time
        task, scores = request["task"]["description"], {"raw_score": 0.0, "position_score": 0.0}
        agent = aide.Agent(task, config, Journal(), True, ".", ".")

        def take(turn: Turn) -> dict[str, Any]:
            def execute(program: str) -> dict[str, Any]:
                if turn["observation"] is None:
                    raise _Acted("execute_code", program)
                return _observation(turn["observation"], scores)

            agent.step(execute)
            return {}

        return take

    return begin


def _observation(told: dict[str, Any], scores: dict[str, float]) -> dict[str, Any]:
    """As upstream's environment has it, where scores are those of the last valid submission."""
    scores.update({key: told[key] for key in scores if key in told})
    base = {"feedback_status": "SUCCESS", "feedback": told["feedback"]}
    return {
        "action_status": told["status"],
        "feedback": {"base": base},
        **{f"current_{key}": score for key, score in scores.items()},
    }


def _stand_in(pending: list[str]) -> None:
    """Put the modules into place that the agents' own imports will find."""

    class Chat:
        def __init__(self, **settings: Any) -> None:
            pass

        def chat_completion(self, messages: Any, settings: Any) -> tuple[str, float]:
            if not pending:
                said = [dict(m, content=m["content"].replace(*_UNKNOWN_FOLDER)) for m in messages]
                raise _Asked(said)
            return pending.pop(0), 0.0

    counter = SimpleNamespace(
        encode=lambda text: text.encode("utf-8", "replace")[::_BYTES_OF_TOKEN]
    )
    genai = _module("google.genai", types=SimpleNamespace())
    _module("google", genai=genai)
    _module("tiktoken", encoding_for_model=lambda name: counter)
    _module("mledojo.chat", ChatClient=Chat, ModelSettings=SimpleNamespace)
    _module("mledojo.agent.aide.utils.config", Config=SimpleNamespace)


def _module(name: str, **contents: Any) -> ModuleType:
    module = sys.modules[name] = ModuleType(name)
    vars(module).update(contents)
    return module


def _namespace(settings: Any) -> Any:
    if not isinstance(settings, dict):
        return settings
    return SimpleNamespace(**{key: _namespace(value) for key, value in settings.items()})


def _too_slow(number: int, frame: Any) -> None:
    raise TimeoutError(f"the answer was not read within {_SECONDS:.0f} s")


if __name__ == "__main__":
    main()
