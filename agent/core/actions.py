"""From the model's text to one of MLE-Dojo's actions.

An answer is free text with exactly one fenced block whose info string names the action:

    ```execute_code
    import pandas as pd
    ...
    ```

Code needs no escaping this way. JSON actions, which MLE-Dojo's own agent asks for, fail on raw
newlines, code fences and quotes, that is on most programs a small model writes.
"""

import re
from dataclasses import dataclass
from typing import get_args

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

_OPENING = re.compile(rf"^```({'|'.join(ACTIONS)})[ \t]*$")
_CLOSING = re.compile(r"^```[ \t]*$")


@dataclass(frozen=True, slots=True)
class Action:
    """`argument` is the program, the kind of information, or empty; for an invalid action, why."""

    kind: ActionKind
    argument: str


def parse_action(text: str) -> Action:
    """Read the one action in `text`; an unreadable answer is an action of kind "invalid"."""
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


def format_action(kind: ActionKind, argument: str = "") -> str:
    """The text that `parse_action` reads back."""
    body = f"{argument.rstrip()}\n" if argument else ""
    return f"```{kind}\n{body}```"


def _checked(action: Action) -> Action:
    if action.kind in CODE_ACTIONS:
        if not action.argument.strip():
            return Action("invalid", f"{action.kind} needs a program")
        return Action(action.kind, action.argument.rstrip() + "\n")
    return Action(action.kind, action.argument.strip())
