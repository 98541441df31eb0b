"""From the model's text to one of MLE-Dojo's actions, in one of two formats.

`block`: free text with exactly one fenced block whose info string names the action:

    ```execute_code
    import pandas as pd
    ...
    ```

Code needs no escaping this way. JSON actions, which MLE-Dojo's own agent asks for, fail on raw
newlines, code fences and quotes, that is on most programs a small model writes.

`tool_call`: free text with exactly one call as Qwen and others are trained to write it. The chat
template tells the model of `TOOLS`; raw newlines in a program are read all the same.

    <tool_call>
    {"name": "execute_code", "arguments": {"code": "import pandas as pd\\n..."}}
    </tool_call>
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from agent.core.records import ActionKind

INFO_TYPES = (
    "overview",
    "sample_submission",
    "data_structure",
    "data_path",
    "output_path",
    "name",
    "metadata",
    "all",
)
ACTIONS = tuple(kind for kind in get_args(ActionKind) if kind != "invalid")
CODE_ACTIONS = ("validate_code", "execute_code")
ActionFormat = Literal["block", "tool_call"]

_OPENING = re.compile(rf"^```({'|'.join(ACTIONS)})[ \t]*$")
_CLOSING = re.compile(r"^```[ \t]*$")
_CALL, _CALL_END = "<tool_call>", "</tool_call>"
_PROGRAM = {"code": {"type": "string", "description": "a complete Python program"}}
_KIND = {"info_type": {"type": "string", "enum": list(INFO_TYPES)}}
# What each action does and takes, for models that are told of their tools as JSON.
_DESCRIBED: dict[str, tuple[str, dict[str, Any]]] = {
    "request_info": ("Tells about the competition.", _KIND),
    "validate_code": ("Runs a program without scoring it.", _PROGRAM),
    "execute_code": ("Runs a program and scores the submission.csv it writes.", _PROGRAM),
    "get_history": ("Lists what was tried.", {}),
    "reset": ("Starts the history afresh.", {}),
}
TOOLS: tuple[dict[str, Any], ...] = tuple(
    {
        "type": "function",
        "function": {
            "name": name,
            "description": told,
            "parameters": {
                "type": "object",
                "properties": arguments,
                "required": list(arguments),
            },
        },
    }
    for name, (told, arguments) in _DESCRIBED.items()
)


@dataclass(frozen=True, slots=True)
class Action:
    """`argument` is the program, the kind of information, or empty; for an invalid action, why."""

    kind: ActionKind
    argument: str


def parse_action(text: str, form: ActionFormat = "block") -> Action:
    """Read the one action in `text`; an unreadable answer is an action of kind "invalid"."""
    return _parse_block(text) if form == "block" else _parse_tool_call(text)


def _parse_block(text: str) -> Action:
    blocks: list[Action] = []
    lines = iter(text.splitlines())
    for line in lines:
        opening = _OPENING.match(line)
        if not opening:
            continue
        body = []
        for inner in lines:
            if _CLOSING.match(inner):
                break
            body.append(inner)
        else:
            return Action("invalid", f"the {opening[1]} block is not closed with ```")
        kind: ActionKind = opening[1]  # type: ignore[assignment]  # the pattern admits only actions
        blocks.append(Action(kind, "\n".join(body)))
    if len(blocks) != 1:
        return Action("invalid", f"expected one action block, found {len(blocks)}")
    return _checked(blocks[0])


def _parse_tool_call(text: str) -> Action:
    calls: list[Any] = []
    decoder = json.JSONDecoder(strict=False)  # programs with raw newlines are read, too
    position = text.find(_CALL)
    while position >= 0:
        body = text[position + len(_CALL) :].lstrip()
        try:
            call, end = decoder.raw_decode(body)
        except (json.JSONDecodeError, RecursionError) as wrong:
            told = wrong.msg if isinstance(wrong, json.JSONDecodeError) else "too deeply nested"
            return Action("invalid", f"the tool call is not JSON: {told}")
        calls.append(call)
        text = body[end:].lstrip()
        if not text.startswith(_CALL_END):
            return Action("invalid", f"the tool call is not closed with {_CALL_END}")
        position = text.find(_CALL)
    if len(calls) != 1:
        return Action("invalid", f"expected one tool call, found {len(calls)}")
    return _called(calls[0])


def _called(call: Any) -> Action:
    """The action of a decoded call, if it has a known name and exactly the arguments of that."""
    if not isinstance(call, dict) or call.get("name") not in list(_DESCRIBED):
        return Action("invalid", f"the tool call must name one of {', '.join(ACTIONS)}")
    kind: ActionKind = call["name"]
    given, wanted = call.get("arguments", {}), _DESCRIBED[kind][1]
    if not isinstance(given, dict) or set(given) != set(wanted):
        return Action("invalid", f"the arguments of {kind} must be {{{', '.join(wanted)}}}")
    if not all(isinstance(value, str) for value in given.values()):
        return Action("invalid", f"the arguments of {kind} must be text")
    return _checked(Action(kind, "".join(given.values())))


def format_action(kind: ActionKind, argument: str = "", form: ActionFormat = "block") -> str:
    """The text that `parse_action` reads back."""
    if form == "tool_call":
        arguments = {name: argument for name in _DESCRIBED[kind][1]}
        call = json.dumps({"name": kind, "arguments": arguments}, ensure_ascii=False)
        return f"{_CALL}\n{call}\n{_CALL_END}"
    body = f"{argument.rstrip()}\n" if argument else ""
    return f"```{kind}\n{body}```"


def _checked(action: Action) -> Action:
    if action.kind in CODE_ACTIONS:
        if not action.argument.strip():
            return Action("invalid", f"{action.kind} needs a program")
        return Action(action.kind, action.argument.rstrip() + "\n")
    return Action(action.kind, action.argument.strip())
