"""Reading settings: a YAML file, or the same sections written inline as JSON, into dataclasses."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

Settings = TypeVar("Settings")


def read_config(source: str) -> dict[str, Any]:
    """Parse `source`: inline JSON when it starts with a brace, else the path of a YAML file."""
    if source.lstrip().startswith("{"):
        config = _parse(json.loads, source, "the inline JSON")
    elif Path(source).is_file():
        config = _parse(yaml.safe_load, Path(source).read_text(), source)
    else:
        raise FileNotFoundError(f"config: no file {source}; give a YAML file or inline JSON")
    if not isinstance(config, dict):
        raise ValueError(f"config: {source} must hold sections, got {type(config).__name__}")
    return config


def _parse(parser: Callable[[str], Any], text: str, source: str) -> Any:
    try:
        return parser(text)
    except (yaml.YAMLError, json.JSONDecodeError) as error:
        raise ValueError(f"config: {source} cannot be read: {error}") from error


def section(config: Mapping[str, Any], name: str, kind: type[Settings]) -> Settings:
    """The section `name` as the dataclass `kind`; unknown, missing or mistyped keys raise."""
    if name not in config:
        raise ValueError(f"config: section {name} is missing")
    values = config[name]
    if not isinstance(values, dict):
        raise ValueError(f"config: section {name} must hold keys, got {values!r}")
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if wrong := sorted(set(values) ^ known):
        raise ValueError(f"config: section {name} has unknown or missing keys {wrong}")
    return kind(**{key: _checked(values[key], hints[key], f"{name}.{key}") for key in values})


def _checked(value: Any, hint: Any, key: str) -> Any:
    inner = next((option for option in get_args(hint) if is_dataclass(option)), None)
    if inner is not None and value is not None:
        return section({key: value}, key, inner)  # type: ignore[arg-type]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            named = ", ".join(map(str, get_args(hint)))
            raise ValueError(f"config: {key} must be one of {named}, got {value!r}")
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"config: {key} must be a list, got {value!r}")
        return tuple(_checked(item, get_args(hint)[0], key) for item in value)
    kind = get_origin(hint) or hint
    options = get_args(hint) if kind is not dict else ()
    accepted = options if options and all(isinstance(o, type) for o in options) else (kind,)
    if isinstance(value, bool) and bool not in accepted:
        raise ValueError(f"config: {key} must be {kind.__name__}, got {value!r}")
    if not isinstance(value, tuple(accepted)):
        names = " or ".join(option.__name__ for option in accepted)
        raise ValueError(f"config: {key} must be {names}, got {value!r}")
    return value
