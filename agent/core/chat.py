"""From messages to tokens through a model's own chat template, append-only.

What was sampled stays exactly as sampled: a later message contributes the text that the template
adds to the conversation before it, and earlier tokens are never made again. A context that is full
goes on in a new segment: with copies of the tokens of its recent turns, or with a summary.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from agent.core.base_agent import Response
from agent.core.records import Conversation, Message

ContextPolicy = Literal["stop", "truncate", "segment"]
_FEWEST_CHARACTERS = 16  # of each part of a summary


def extend_context(tokenizer: Any, conversation: Conversation) -> None:
    """Append the tokens of the messages that the context lacks, ready for the next answer.

    Raises `ValueError` when the template rewrites earlier messages, or cannot tell of the tools.
    """
    messages, done = conversation.messages, conversation.encoded_messages
    if done == len(messages):
        return
    before = ""
    if done:
        ending = tokenizer.eos_token
        before = _render(tokenizer, messages[:done], conversation.tools, opens_answer=False)
        if ending not in before:
            raise ValueError(
                f"chat template: no answer ends in {ending}: the tokenizer's eos_token must be "
                "what its template ends a turn with"
            )
        before = before[: before.rindex(ending) + len(ending)]
    text = _render(tokenizer, messages, conversation.tools, opens_answer=True)
    if conversation.tools and not done and text == _render(tokenizer, messages, (), True):
        raise ValueError("chat template: knows no tools: set episode.action_format to block")
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
    conversation.answers.append(first)
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


def has_room(
    tokenizer: Any,
    conversation: Conversation,
    answer_tokens: int,
    limit: int,
    policy: ContextPolicy,
) -> bool:
    """Whether another answer fits into the context, in a new segment where `policy` begins one.

    A segment begins with half of the context at most, if it can: one that is always full would be
    a new segment, and a row of the update, at every turn.
    """
    if len(conversation.context) + answer_tokens <= limit:
        return True
    if policy == "stop":
        return False
    room = min(limit // 2, limit - answer_tokens)
    if policy == "truncate":
        kept, answers = _recent_turns(conversation, room)
    else:
        kept, answers = _summed_up(tokenizer, conversation, room), []
    if len(kept) + answer_tokens > limit:
        return False
    begin = len(conversation.token_ids)
    conversation.segments.append(begin)
    conversation.answers = [begin + answer for answer in answers]
    append_context(conversation, kept)
    return True


def _recent_turns(conversation: Conversation, room: int) -> tuple[list[int], list[int]]:
    """The opening and the latest turns, as tokens, and where answers are in them.

    The oldest answers go with what was answered to them, until the rest fits into `room`. The last
    turn stays.
    """
    context = conversation.context
    answers = [answer - conversation.segments[-1] for answer in conversation.answers]
    if len(answers) < 2:
        return context, answers
    opening = context[: answers[0]]
    kept = next((a for a in answers[1:] if len(opening) + len(context) - a <= room), answers[-1])
    shift = len(opening) - kept
    return opening + context[kept:], [answer + shift for answer in answers if answer >= kept]


def _summed_up(tokenizer: Any, conversation: Conversation, room: int) -> list[int]:
    """The opening with a summary of all turns, which is shortened until both fit into `room`."""
    if conversation.summarise is None:
        raise ValueError(
            "sampling.context_policy: segment sums up the turns of an episode, which this "
            "conversation has not: set it to stop or truncate"
        )
    if not conversation.answers:  # nothing was said since the last summary
        return conversation.context
    system, task = conversation.messages[:2]
    characters = room
    while True:
        told = replace(task, content=f"{task.content}\n\n{conversation.summarise(characters)}")
        text = _render(tokenizer, [system, told], conversation.tools, opens_answer=True)
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
        characters //= 2
        if len(ids) <= room or characters < _FEWEST_CHARACTERS:
            return ids


def _render(
    tokenizer: Any,
    messages: Sequence[Message],
    tools: Sequence[dict[str, Any]],
    opens_answer: bool,
) -> str:
    if tokenizer.chat_template is None:
        raise ValueError(
            "chat template: the tokenizer has none: use an instruction-tuned model, or put "
            "chat_template.jinja into its folder"
        )
    text: str = tokenizer.apply_chat_template(
        [{"role": message.role, "content": _as_text(tokenizer, message)} for message in messages],
        tools=list(tools) or None,
        tokenize=False,
        add_generation_prompt=opens_answer,
    )
    return text


def _as_text(tokenizer: Any, message: Message) -> str:
    """What others than the model say, with nothing in it that would become a control token.

    A program could otherwise end its own observation, and have the user say what it likes.
    """
    content = message.content
    if message.role != "assistant":
        for token in tokenizer.added_tokens_decoder.values():
            if token.special:
                content = content.replace(token.content, f"{token.content[0]} {token.content[1:]}")
    return content
