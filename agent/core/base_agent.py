"""Who plays: the protocol of the batched loop, and the interface for an agent of your own."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from agent.core.records import Conversation, Message


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. `first_token:last_token` is its slice of the conversation's tokens.

    The loop fills in `generate_seconds`: the wall seconds of the call that gave the answer, in
    equal shares where it gave several. What the policy itself waits for, as a busy server, counts.
    """

    text: str
    finish: Literal["stop", "length", "context"]  # "context": no room left, nothing was sampled
    first_token: int = 0
    last_token: int = 0
    generate_seconds: float = 0.0


class Policy(Protocol):
    """Answers many conversations at once, token-in token-out.

    A policy that works on tokens appends to each conversation the tokens of the messages it has
    not yet encoded (mask 0) and those it samples (mask 1); the loop appends the messages.
    `seeds` has one seed per conversation, so an answer does not depend on its neighbours.
    """

    @property
    def name(self) -> str: ...

    @property
    def temperature(self) -> float: ...

    @property
    def in_rounds(self) -> bool:
        """Whether it answers best in batches; otherwise it is asked from many threads at once."""

    def respond(
        self, conversations: Sequence[Conversation], seeds: Sequence[int]
    ) -> list[Response]: ...


class BaseAgent(ABC):
    """Implement this to evaluate an agent of your own; it plays one episode at a time."""

    @abstractmethod
    def reset(self) -> None:
        """Forget everything: a new episode begins."""

    @abstractmethod
    def generate_response(self, messages: Sequence[Message]) -> str:
        """Answer the episode so far (system, user, assistant, user, ...) with one action."""


class AgentPolicy:
    """Lets `BaseAgent`s play in the batched loop, one fresh agent per conversation."""

    temperature = 0.0
    in_rounds = True

    def __init__(self, name: str, make_agent: Callable[[], BaseAgent]) -> None:
        self.name = name
        self._make_agent = make_agent
        self._agents: dict[int, tuple[Conversation, BaseAgent]] = {}

    def respond(
        self, conversations: Sequence[Conversation], seeds: Sequence[int]
    ) -> list[Response]:
        return [
            Response(self._agent(conversation).generate_response(conversation.messages), "stop")
            for conversation in conversations
        ]

    def _agent(self, conversation: Conversation) -> BaseAgent:
        if id(conversation) not in self._agents:
            agent = self._make_agent()
            agent.reset()
            # Kept with its conversation: the identity of a forgotten one may be used again.
            self._agents[id(conversation)] = (conversation, agent)
        return self._agents[id(conversation)][1]
