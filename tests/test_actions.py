"""From text to actions: what is read back, what is refused, and that nothing raises."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.actions import (
    ACTIONS,
    CODE_ACTIONS,
    INFO_TYPES,
    TOOLS,
    Action,
    format_action,
    parse_action,
)

lines = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=30)
programs = st.lists(lines.filter(lambda line: not line.startswith("```"))).map("\n".join)


@given(st.sampled_from(CODE_ACTIONS), programs.filter(str.strip))
def test_a_written_program_is_read_back(kind, program):
    action = parse_action(format_action(kind, program))
    assert action.kind == kind
    assert action.argument == program.rstrip() + "\n"


@given(programs, programs, programs.filter(str.strip))
def test_thoughts_around_the_block_do_not_matter(before, after, program):
    block = format_action("execute_code", program)
    assert parse_action(f"{before}\n{block}\n{after}") == parse_action(block)


@pytest.mark.parametrize("kind", INFO_TYPES)
def test_a_kind_of_information_is_read_back(kind):
    action = parse_action(format_action("request_info", kind))
    assert (action.kind, action.argument) == ("request_info", kind)


@pytest.mark.parametrize("kind", ["get_history", "reset"])
def test_an_action_may_have_no_argument(kind):
    assert format_action(kind) == f"```{kind}\n```"
    assert parse_action(format_action(kind)).kind == kind


@given(st.text())
def test_no_text_raises(text):
    action = parse_action(text)
    assert action.kind in (*ACTIONS, "invalid")
    if action.kind == "invalid":
        assert action.argument and "\n" not in action.argument


@given(st.lists(st.sampled_from(["```", "```execute_code", "```reset", "x = 1", "", "```python"])))
def test_no_arrangement_of_fences_raises(parts):
    action = parse_action("\n".join(parts))
    assert action.kind in ("execute_code", "reset", "invalid")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "found 0"),
        ("print(1)", "found 0"),
        ("```python\nprint(1)\n```", "found 0"),
        ("```execute_code print(1)```", "found 0"),
        ("```Execute_Code\nprint(1)\n```", "found 0"),
        ("```execute_code_now\nprint(1)\n```", "found 0"),
        (" ```execute_code\nprint(1)\n```", "found 0"),
        ("```execute_code\nprint(1)\n", "not closed"),
        ("```execute_code\nprint(1)\n ```", "not closed"),
        ("```reset\n```\n```reset\n```", "found 2"),
        ("```execute_code\n\n```", "needs a program"),
        ("```validate_code\n   \n```", "needs a program"),
    ],
)
def test_what_is_no_action_is_refused_with_a_reason(text, reason):
    action = parse_action(text)
    assert action.kind == "invalid" and reason in action.argument


def test_only_a_fence_of_its_own_line_ends_a_program():
    program = 'text = """\n    ```\n```python\n"""\n'
    assert parse_action(format_action("execute_code", program)).argument == program


def test_windows_line_ends_and_spaces_after_the_fence_are_read():
    action = parse_action("```execute_code \t\r\nx = 1\r\n``` \r\n")
    assert (action.kind, action.argument) == ("execute_code", "x = 1\n")


def test_indentation_of_the_first_line_is_kept():
    assert parse_action("```execute_code\n  x\n y\n```").argument == "  x\n y\n"


# Tool calls.


@given(st.sampled_from(CODE_ACTIONS), st.text().filter(str.strip))
def test_a_called_program_is_read_back(kind, program):
    action = parse_action("thoughts " + format_action(kind, program, "tool_call"), "tool_call")
    assert action == Action(kind, program.rstrip() + "\n")


@pytest.mark.parametrize("kind", ACTIONS)
def test_every_action_can_be_called_as_it_is_described(kind):
    argument = {"request_info": "name", "validate_code": "x\n", "execute_code": "x\n"}.get(kind, "")
    text = format_action(kind, argument, "tool_call")
    assert parse_action(text, "tool_call") == Action(kind, argument)
    described = next(tool["function"] for tool in TOOLS if tool["function"]["name"] == kind)
    call = json.loads(text.removeprefix("<tool_call>").removesuffix("</tool_call>"))
    assert set(call["arguments"]) == set(described["parameters"]["required"])


def call(content: str) -> str:
    return f"<tool_call>\n{content}\n</tool_call>"


def test_raw_newlines_and_closing_tags_within_a_program_are_read():
    raw = call('{"name": "execute_code", "arguments": {"code": "a = 1\n\tb = 2"}}')
    assert parse_action(raw, "tool_call").argument == "a = 1\n\tb = 2\n"
    tricky = "print('</tool_call><tool_call>')"
    text = format_action("execute_code", tricky, "tool_call")
    assert parse_action(text, "tool_call").argument == tricky + "\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "found 0"),
        (format_action("reset"), "found 0"),
        (format_action("reset", form="tool_call") * 2, "found 2"),
        (call("{]"), "is not JSON"),
        ("<tool_call>" + "[" * 100_000, "is not JSON"),
        ('<tool_call>{"name": "reset", "arguments": {}}', "not closed"),
        (call('["reset"]'), "must name one of request_info"),
        (call('{"name": "invalid"}'), "must name one of request_info"),
        (call('{"name": ["reset"]}'), "must name one of request_info"),
        (call('{"name": "execute_code"}'), "arguments of execute_code must be {code}"),
        (call('{"name": "reset", "arguments": {"a": "b"}}'), "arguments of reset must be {}"),
        (call('{"name": "execute_code", "arguments": {"code": 1}}'), "must be text"),
        (call('{"name": "execute_code", "arguments": {"code": " "}}'), "needs a program"),
    ],
)
def test_what_is_no_call_is_refused_with_a_reason(text, reason):
    action = parse_action(text, "tool_call")
    assert action.kind == "invalid" and reason in action.argument


pieces = st.sampled_from(["<tool_call>", "</tool_call>", "{", "}", '"', "1"])


@given(st.text() | st.lists(pieces).map("".join))
def test_no_call_raises(text):
    action = parse_action(text, "tool_call")
    assert action.kind == "invalid" and "\n" not in action.argument
