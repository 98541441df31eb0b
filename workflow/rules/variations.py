"""A study's variants: the same configuration with some sections' keys set otherwise."""

import copy
from collections.abc import Mapping
from typing import Any

Config = dict[str, Any]

# Sections that only updates read: variants that differ in nothing else start from the study's own
# base model and learn first from the very same episodes.
LEARNING = {"rewards", "rft", "ppo", "update"}
SEPARATOR = "__"  # between a variant's name and a rule's: no name of either ends or begins so


def variants(config: Mapping[str, Any]) -> dict[str, Config]:
    """Every variant's whole configuration, by the prefix of its rules.

    `study` is the variant's folder below results/, `start` the folder of the study that it takes
    base model and first episodes from.
    """
    return {
        f"{name}{SEPARATOR}": variant(config, name, overrides)
        for name, overrides in config["variants"].items()
    }


def variant(config: Mapping[str, Any], name: str, overrides: Mapping[str, Any]) -> Config:
    """One variant's whole configuration."""
    own = copy.deepcopy({**config, "variants": {}})
    for section, values in overrides.items():
        own[section] = {**own[section], **values}
    own["study"] = f"{config['study']}/variants/{name}"
    shares = set(overrides) <= LEARNING
    own["start"] = f"results/{config['study'] if shares else own['study']}"
    return own


def changes(own: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What a variant sets otherwise than the study, like `ppo.gae_lambda=1.0`."""
    return ", ".join(
        f"{section}.{key}={value}"
        for section, values in own.items()
        if isinstance(values, Mapping) and section != "variants"
        for key, value in values.items()
        if value != config[section][key]
    )
