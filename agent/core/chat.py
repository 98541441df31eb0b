"""From messages to tokens through a model's own chat template, append-only.

What was sampled stays exactly as sampled: a later message contributes the text that the template
adds to the conversation before it, and earlier tokens are never made again.
"""

from collections.abc import Sequence
from typing import Any

from agent.core.base_agent import Response
from agent.core.records import Conversation, Message


def extend_context(tokenizer: Any, conversation: Conversation) -> None:
    """Append the tokens of the messages that the context lacks, ready for the next answer.

    Raises `ValueError` when the template rewrites earlier messages.
    """
    messages, done = conversation.messages, conversation.encoded_messages
    if done == len(messages):
        return
    before = ""
    if done:
        ending = tokenizer.eos_token
        before = _render(tokenizer, messages[:done], opens_answer=False)
        before = before[: before.rindex(ending) + len(ending)]
    text = _render(tokenizer, messages, opens_answer=True)
    if not text.startswith(before):
        raise ValueError("chat template: rewrites earlier messages, the context cannot grow")
    append_context(conversation, tokenizer.encode(text[len(before) :], add_special_tokens=False))
    conversation.encoded_messages = len(messages)


def append_context(conversation: Conversation, ids: Sequence[int]) -> None:
    """Append tokens that the policy did not choose."""
    conversation.token_ids += ids
    conversation.action_mask += [0] * len(ids)
    conversation.logprobs += [0.0] * len(ids)


def append_action(
    conversation: Conversation, ids: Sequence[int], logprobs: Sequence[float]
) -> tuple[int, int]:
    """Append sampled tokens; returns their half-open slice.

    The assistant message with the same text, which the episode loop adds, counts as encoded.
    """
    first = len(conversation.token_ids)
    conversation.token_ids += ids
    conversation.action_mask += [1] * len(ids)
    conversation.logprobs += logprobs
    conversation.encoded_messages += 1
    return first, len(conversation.token_ids)


def append_answer(
    tokenizer: Any, conversation: Conversation, ids: Sequence[int], logprobs: Sequence[float]
) -> Response:
    """Append a sampled answer, whose last token ends the turn unless it was cut off."""
    stopped = ids[-1] == tokenizer.eos_token_id
    text = tokenizer.decode(ids[:-1] if stopped else ids, skip_special_tokens=False)
    first, last = append_action(conversation, ids, logprobs)
    if not stopped:  # closes the turn for the context; not something the model did
        append_context(conversation, [tokenizer.eos_token_id])
    return Response(text, "stop" if stopped else "length", first, last)


def _render(tokenizer: Any, messages: Sequence[Message], opens_answer: bool) -> str:
    chat = [{"role": message.role, "content": message.content} for message in messages]
    text: str = tokenizer.apply_chat_template(
        chat, tokenize=False, add_generation_prompt=opens_answer
    )
    return text
