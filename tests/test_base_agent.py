"""An agent of one's own in the batched loop."""

from collections.abc import Sequence

from agent.core.base_agent import AgentPolicy, BaseAgent
from agent.core.records import Conversation, Message


class CountingAgent(BaseAgent):
    """Answers how many answers it gave since its last reset."""

    def __init__(self) -> None:
        self.resets = 0
        self.answers = 0

    def reset(self) -> None:
        self.resets += 1
        self.answers = 0

    def generate_response(self, messages: Sequence[Message]) -> str:
        self.answers += 1
        return f"{self.resets} reset, answer {self.answers}, {len(messages)} messages"


def test_every_conversation_has_an_agent_of_its_own():
    policy = AgentPolicy("mine", CountingAgent)
    long, short = Conversation([Message("user", "hello")] * 3), Conversation([])
    first = [response.text for response in policy.respond([long, short], [0, 1])]
    assert first == ["1 reset, answer 1, 3 messages", "1 reset, answer 1, 0 messages"]
    again = [response.text for response in policy.respond([short], [2])]
    assert again == ["1 reset, answer 2, 0 messages"]
    assert policy.name == "mine" and policy.temperature == 0.0


def test_a_new_conversation_never_gets_the_agent_of_a_forgotten_one():
    policy = AgentPolicy("mine", CountingAgent)
    answers = {policy.respond([Conversation()], [0])[0].text for _ in range(200)}
    assert answers == {"1 reset, answer 1, 0 messages"}
