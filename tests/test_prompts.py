"""Prompt sets: complete, strict about variables, and never reading what they show as a template."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.core.prompts import KEYS, TEMPLATES, PromptManager, head_and_tail

VALUES = {
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
    assert {"default", "compact"} <= set(PromptManager.shipped())


def test_what_a_program_printed_is_shown_and_not_interpreted():
    hostile = "{{ 7 * 7 }} {% raw %} <b>&amp;</b>"
    assert hostile in PromptManager("default").render("crashed", VALUES | {"output": hostile})


def test_a_forgotten_variable_is_an_error():
    with pytest.raises(Exception, match="'turns_left' is undefined"):
        PromptManager("default").render("task", {"description": "text"})


def test_an_unknown_set_is_named_with_those_there_are():
    with pytest.raises(FileNotFoundError, match=r"no-such-set\.yaml; .*'compact', 'default'"):
        PromptManager("no-such-set")


@pytest.mark.parametrize("change", ["missing", "unknown"])
def test_a_set_of_ones_own_must_have_exactly_the_keys(tmp_path, change):
    texts = {key: f"my {key}" for key in KEYS}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(texts))
    assert PromptManager(path).render("system", {}) == "my system"
    if change == "missing":
        del texts["scored"]
    else:
        texts["greeting"] = "hello"
    path.write_text(yaml.safe_dump(texts))
    with pytest.raises(ValueError, match=r"mine\.yaml has missing or unknown keys \['"):
        PromptManager(path)


@given(st.text(), st.integers(2, 60))
def test_a_cut_text_keeps_both_ends_and_says_what_is_gone(text, limit):
    shown = head_and_tail(text, limit)
    half = limit // 2
    if len(text) <= limit:
        assert shown == text
    else:
        assert shown.startswith(text[:half]) and shown.endswith(text[-half:])
        assert f"[{len(text) - 2 * half} characters cut]" in shown
