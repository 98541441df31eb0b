"""Settings either are exactly what was asked for or raise one line that names the key."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pytest
from conftest import CONFIG, ROOT
from hypothesis import given
from hypothesis import strategies as st

from agent.core.records import PPOSettings
from agent.core.settings import read_config, section


@dataclass(frozen=True)
class Example:
    rate: float
    steps: int
    name: str
    revision: str | None
    modules: tuple[str, ...]
    sizes: tuple[float, ...]
    remember: bool


GOOD = {
    "rate": 1,
    "steps": 3,
    "name": "a",
    "revision": None,
    "modules": ["x", "y"],
    "sizes": [1, 2.5],
    "remember": False,
}


def test_a_section_becomes_its_dataclass():
    example = section({"example": GOOD}, "example", Example)
    assert example == Example(1.0, 3, "a", None, ("x", "y"), (1.0, 2.5), False)
    assert isinstance(example.rate, float)


def test_a_missing_section_is_named():
    with pytest.raises(ValueError, match=r"^config: section example is missing$"):
        section({}, "example", Example)


def test_an_unknown_key_is_named():
    with pytest.raises(ValueError, match=r"section example has unknown .*\['stepz'\]"):
        section({"example": GOOD | {"stepz": 3}}, "example", Example)


@pytest.mark.parametrize("key", GOOD)
def test_a_missing_key_is_named(key):
    values = {name: value for name, value in GOOD.items() if name != key}
    with pytest.raises(ValueError, match=rf"section example has .*missing keys \['{key}'\]"):
        section({"example": values}, "example", Example)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rate", "1e-6"),  # how YAML reads 1e-6, which lacks a dot
        ("rate", True),
        ("rate", None),
        ("steps", 3.0),
        ("steps", "3"),
        ("steps", True),
        ("name", None),
        ("name", 5),
        ("revision", 5),
        ("modules", "numpy"),
        ("modules", 5),
        ("modules", ["numpy", 5]),
        ("sizes", ["small"]),
        ("remember", 1),
        ("remember", "yes"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_key(key, value):
    with pytest.raises(ValueError, match=rf"^config: example\.{key} must be .*, got "):
        section({"example": GOOD | {key: value}}, "example", Example)


@pytest.mark.parametrize("values", [None, [], "text", 5])
def test_a_section_that_holds_no_keys_is_refused(values):
    with pytest.raises(ValueError, match=r"^config: section example must hold keys"):
        section({"example": values}, "example", Example)


def test_a_file_and_the_same_sections_inline_are_equal():
    assert read_config(json.dumps(CONFIG)) == read_config(str(ROOT / "config/config.yaml"))


@given(st.floats(0, 1e300, exclude_min=True))
def test_every_float_survives_being_passed_inline(rate):
    config = read_config(json.dumps({"example": GOOD | {"rate": rate}}))
    assert section(config, "example", Example).rate == rate


def test_the_shipped_settings_of_the_update_survive_being_passed_inline():
    settings = section(CONFIG, "ppo", PPOSettings)
    inline = read_config(json.dumps({"ppo": asdict(settings)}))
    assert section(inline, "ppo", PPOSettings) == settings
    assert {field.name for field in fields(PPOSettings)} == set(CONFIG["ppo"])


@pytest.mark.parametrize("content", ["- 1\n- 2\n", "text", ""])
def test_a_file_without_sections_is_named(tmp_path, content):
    path = tmp_path / "wrong.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"wrong\.yaml must hold sections"):
        read_config(str(path))


@pytest.mark.parametrize("source", ['{"a": ', "{a: 1}"])
def test_broken_inline_sections_are_refused(source):
    with pytest.raises(ValueError, match="inline JSON"):
        read_config(source)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match=r"no file nowhere\.yaml; give a YAML file"):
        read_config(str(Path("nowhere.yaml")))
