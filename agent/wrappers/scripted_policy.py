"""A policy that plays written answers: golden episodes, yardsticks, the warm start's teacher."""

from collections.abc import Callable, Sequence

import numpy as np

from agent.core.base_agent import Response
from agent.core.records import Conversation

Script = Callable[[Conversation, np.random.Generator], str]


class ScriptedPolicy:
    """Answers each conversation with what `script` writes; it speaks text, not tokens."""

    temperature = 0.0
    in_rounds = True

    def __init__(self, name: str, script: Script) -> None:
        self.name = name
        self._script = script

    def respond(
        self, conversations: Sequence[Conversation], seeds: Sequence[int]
    ) -> list[Response]:
        return [
            Response(self._script(conversation, np.random.default_rng(seed)), "stop")
            for conversation, seed in zip(conversations, seeds, strict=True)
        ]


def replay(answers: Sequence[str]) -> Script:
    """The script that gives these answers, one per turn."""

    def script(conversation: Conversation, rng: np.random.Generator) -> str:
        turn = sum(message.role == "assistant" for message in conversation.messages)
        return answers[turn]

    return script
