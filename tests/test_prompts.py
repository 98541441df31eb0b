"""Prompt sets: complete, strict about variables, and never reading what they show as a template.

What the shipped sets say is in `golden_prompts/`; WRITE_GOLDEN=1 writes it anew after a change.
"""

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from made_up import turn

from agent.core.actions import parse_action
from agent.core.prompts import KEYS, OPENING, TEMPLATES, PromptManager, head_and_tail

GOLDEN = Path(__file__).parent / "golden_prompts"
VALUES = {
    "competition": "wine",
    "description": "# Title\ntask: regression\nmetric: MAE\n\nabout",
    "brief": "# Title\ntask: regression\nmetric: MAE",
    "message": "the message",
    "error": "ValueError: the message",
    "output": "the output",
    "raw_score": 1.25,
    "position_score": 0.5,
    "best_position": 0.75,
    "metric": "mae",
    "higher_is_better": False,
    "turns_left": 7,
    "attempts": [
        (3, turn(outcome="crashed", error="KeyError")),
        (5, turn(outcome="no_submission")),
        (6, turn(0.75, raw_score=1.25)),
    ],
    "left_out": 2,
    "best_program": "print('the best program')\n",
    "best_raw_score": 1.25,
    "observation": "the observation\nturns left: 7",
}


@pytest.mark.parametrize("name", PromptManager.shipped())
@pytest.mark.parametrize("key", KEYS)
def test_every_shipped_prompt_renders(name, key):
    text = PromptManager(name).render(key, VALUES)
    assert text and text == text.strip()
    assert "{{" not in text and "{%" not in text
    if key != "system":
        assert "7" in text  # every other message says how many turns are left


@pytest.mark.parametrize("name", PromptManager.shipped())
def test_the_agent_is_told_its_task_its_error_and_its_score(name):
    prompts = PromptManager(name)
    assert "metric: MAE" in prompts.render("task", VALUES)
    assert "ValueError" in prompts.render("crashed", VALUES)
    assert "0.75" in prompts.render("scored", VALUES)
    assert "the message" in prompts.render("answered", VALUES)


def test_the_shipped_sets_are_the_files():
    assert PromptManager.shipped() == sorted(path.stem for path in TEMPLATES.iterdir())
    assert {"zero_shot", "compact"} <= set(PromptManager.shipped())


def test_what_a_program_printed_is_shown_and_not_interpreted():
    hostile = "{{ 7 * 7 }} {% raw %} <b>&amp;</b>"
    assert hostile in PromptManager("zero_shot").render("crashed", VALUES | {"output": hostile})


def test_a_forgotten_variable_is_an_error():
    with pytest.raises(Exception, match="'turns_left' is undefined"):
        PromptManager("zero_shot").render("task", {"description": "text"})


@pytest.mark.parametrize("form", ["block", "tool_call"])
@pytest.mark.parametrize("name", PromptManager.shipped())
def test_the_wording_is_the_one_agreed_on(name, form):
    prompts = PromptManager(name, form)
    told = "".join(f"== {key}\n{prompts.render(key, VALUES)}\n" for key in KEYS)
    golden = GOLDEN / f"{name}.{form}.txt"
    if os.environ.get("WRITE_GOLDEN"):
        golden.write_text(told)
    assert told == golden.read_text()


@pytest.mark.parametrize("form", ["block", "tool_call"])
def test_the_examples_are_answers_that_would_be_carried_out(form):
    told = PromptManager("few_shot", form).render("system", VALUES)
    examples = told.split("from another competition:\n")[1].split("\n\nThe ")
    assert [parse_action(example, form).kind for example in examples] == [
        *("request_info", "execute_code", "validate_code")
    ]
    other = "tool_call" if form == "block" else "block"
    assert all(parse_action(example, other).kind == "invalid" for example in examples)
    for example in examples[1:]:
        compile(parse_action(example, form).argument, "example", "exec")


def test_an_unknown_set_is_named_with_those_there_are():
    with pytest.raises(FileNotFoundError, match=r"no-such-set\.yaml; .*'compact', 'few_shot'"):
        PromptManager("no-such-set")


@pytest.fixture
def write(tmp_path):
    def written(name: str = "mine", **texts) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(texts))
        return path

    return written


WHOLE = {key: f"my {key}" for key in KEYS}


def test_a_set_of_ones_own_must_have_exactly_the_keys(write):
    assert PromptManager(write(**WHOLE)).render("system", {}) == "my system"
    with pytest.raises(ValueError, match=r"mine\.yaml has missing or unknown keys \['scored'\]"):
        PromptManager(write(**{key: text for key, text in WHOLE.items() if key != "scored"}))
    with pytest.raises(ValueError, match=r"mine\.yaml has missing or unknown keys \['greeting'\]"):
        PromptManager(write(**WHOLE, greeting="hello"))


def test_a_set_that_extends_another_holds_what_differs_alone(write):
    path = write(extends="zero_shot", task="{{ inherited }} Be quick.")
    mine, base = PromptManager(path), PromptManager("zero_shot")
    for key in KEYS:
        ending = " Be quick." if key == "task" else ""
        assert mine.render(key, VALUES) == base.render(key, VALUES) + ending
    assert mine.files == (path, *base.files)
    further = PromptManager(write("further", extends=str(path), task="{{ inherited }} Really."))
    assert further.render("task", VALUES).endswith("Be quick. Really.")
    with pytest.raises(ValueError, match=r"unknown keys \['greeting'\]"):
        PromptManager(write(extends="zero_shot", greeting="hello"))


def test_a_set_that_extends_itself_is_refused(write):
    one, other = write("one"), write("other")
    for path, base in ((one, other), (other, one)):
        path.write_text(yaml.safe_dump({"extends": str(base)}))
    with pytest.raises(ValueError, match=r"one\.yaml extends itself"):
        PromptManager(one)


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        (
            "task",
            "{{ descriptoin }}",
            r"task has unknown placeholders \['descriptoin'\]; known",
        ),
        ("task", "{{ raw_score }}", r"task has unknown placeholders \['raw_score'\]"),
        ("scored", "{{ description }}", r"scored has unknown placeholders \['description'\]"),
        ("task", "{{ inherited }}", r"task has unknown placeholders"),
        ("system", "{{ turns_left", "system is no Jinja2"),
        ("system", "{{ turns_left | backwards }}", "system is no Jinja2: No filter named"),
        ("system", 7, "system must be text, got 7"),
    ],
)
def test_a_wrong_template_is_one_line_with_file_and_key(write, key, text, told):
    with pytest.raises(ValueError, match=rf"^prompts: .*mine\.yaml: {told}") as raised:
        PromptManager(write(**WHOLE | {key: text}))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "told"), [("- a\n- b\n", "must hold keys"), ("a: [", "is no YAML")]
)
def test_a_file_that_is_no_set_is_named(tmp_path, content, told):
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(ValueError, match=rf"^prompts: .*mine\.yaml {told}") as raised:
        PromptManager(tmp_path / "mine.yaml")
    assert "\n" not in str(raised.value)


REFLECTION = PromptManager("reflection", "tool_call")


@given(st.text(), st.sampled_from([key for key in KEYS if key not in OPENING]))
def test_values_never_break_a_template(text, key):
    assert REFLECTION.render(key, VALUES | {"output": text})


@given(st.text(), st.integers(2, 60))
def test_a_cut_text_keeps_both_ends_and_says_what_is_gone(text, limit):
    shown = head_and_tail(text, limit)
    half = limit // 2
    if len(text) <= limit:
        assert shown == text
    else:
        assert shown.startswith(text[:half]) and shown.endswith(text[-half:])
        assert f"[{len(text) - 2 * half} characters cut]" in shown
