"""The paper kit: a study's numbers as LaTeX macros, and a paper that quotes nothing else.

Macros begin with `res`, then come the words of the number's name: `iqm_base` is `\\resIqmBase`, the
ends of `gain_ci` are `\\resGainCiLow` and `\\resGainCiHigh`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import yaml

from agent.evaluation.tables import NO_VALUE, escape
from agent.evaluation.writing import fill, groups_of, machines_in_words

# Measured on one machine at one time: kept apart, as everything else is the same on every run.
MEASURED_TIME = ("wall_seconds", "useful_time_share", "named_time_share", "peak_memory_gib")
MEASURED_FIGURE = "time_split"
RESULT_COLUMNS = ("iqm", "mean", "valid_rate", "gain", "probability_of_improvement")
IN_LETTERS = {"1000": "thousand"}  # the name of a macro has no digits


@dataclass(frozen=True, slots=True)
class Study:
    """What the kit is made from."""

    config: Mapping[str, Any]
    headline: Mapping[str, Any]
    results: pd.DataFrame  # one row per policy, from tabulate_results
    competitions: pd.DataFrame  # the table with `group` and `data_set` of every competition
    captions: Mapping[str, str]  # figure -> caption, in the order of the paper
    time: Mapping[str, Any]  # from summarise_timing


def paper_texts(study: Study) -> dict[str, str]:
    """The kit's texts by file name; figures and tables are copied beside them."""
    facts = {
        "config": study.config,
        "n": study.headline,
        "groups": {"validation": None} | groups_of(study.competitions),
        "figures": {name: caption_macro(name) for name in study.captions},
        "gpus": max(job["gpu"] for job in study.config["resources"].values()),
    }
    templates = ("paper.tex", "methods.tex", "checklist.tex", "references.bib")
    measured = {name: study.headline[name] for name in MEASURED_TIME}
    measured |= {
        "wall_minutes": measured["wall_seconds"] / 60,
        "cores": study.time["cores"],
        "core_hours": study.time["busy_core_seconds"] / 3600,
        "gpu_hours": study.time["gpu_seconds"] / 3600,
        "machines": machines_in_words(study.time["machines"]),
    }
    captions = {
        name: command(caption_macro(name), escape(text)) for name, text in study.captions.items()
    }
    return {
        **{name: fill(name, **facts) for name in templates},
        "numbers.tex": macros(dict(numbers(study))),
        "timing.tex": f"{macros(measured)}{captions.pop(MEASURED_FIGURE)}\n",
        "config.yaml": yaml.safe_dump(dict(study.config), sort_keys=False, width=100),
        "captions.tex": "\n".join([*captions.values(), ""]),
    }


def numbers(study: Study) -> Iterator[tuple[str, Any]]:
    """Every number by name: the headline, the table of results, the sizes of the study."""
    for name, value in study.headline.items():
        if name not in MEASURED_TIME:
            yield name, value
    for _, row in study.results.iterrows():
        for column in RESULT_COLUMNS:
            versus = "gain" in column or "improvement" in column
            name = f"table_{column}_{'over_' if versus else ''}{row['policy']}"
            if pd.notna(row[column]):
                yield name, row[column]
                if f"{column}_low" in row and pd.notna(row[f"{column}_low"]):
                    yield f"{name}_ci", [row[f"{column}_low"], row[f"{column}_high"]]
    for group, sizes in groups_of(study.competitions).items():
        for what, number in sizes.items():
            yield f"n_{group}_{what}", number
    yield "n_updates", study.config["training"]["iterations"]
    yield "n_episodes_per_update", study.config["training"]["episodes"]
    yield "n_evaluation_episodes", study.config["evaluation"]["episodes"]


def macros(named: Mapping[str, Any]) -> str:
    """One \\newcommand per number, two for the ends of an interval."""
    lines = []
    for name, value in named.items():
        parts = {name: value}
        if isinstance(value, list) or (value is None and "_ci" in name):
            parts[f"{name}_low"], parts[f"{name}_high"] = value or (None, None)
            del parts[name]
        lines += [
            rf"\newcommand{{\{macro(part)}}}{{{in_tex(part, parts[part])}}}" for part in parts
        ]
    return "\n".join([*lines, ""])


def command(name: str, text: str) -> str:
    return rf"\newcommand{{\{name}}}{{{text}}}"


def macro(name: str, prefix: str = "res") -> str:
    """The name of the macro for a number (`res`) or a figure's caption (`caption`)."""
    words = [IN_LETTERS.get(word, word) for word in name.split("_")]
    camel = prefix + "".join(word.capitalize() for word in words)
    if not camel.isalpha():
        raise ValueError(
            f"macro of {name}: only letters are allowed; spell its digits in IN_LETTERS"
        )
    return camel


def caption_macro(figure: str) -> str:
    return macro(figure, "caption")


def in_tex(name: str, value: Any) -> str:
    """A number as its kind is written: shares in per cent, gains with a sign, p-values whole."""
    if value is None:
        return NO_VALUE
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("p_value"):
        relation = "< 0.001" if value < 0.001 else f"= {value:.3f}"
        return rf"\ensuremath{{p {relation}}}"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "{,}")
    if name.endswith(("_rate", "_share")) or "_rate_" in name:
        return rf"{100 * value:.1f}\,\%"
    if "gain" in name:
        return rf"\ensuremath{{{value:+.3f}}}"
    coarse = ("hack_attempts", "wall_", "peak_", "core_", "gpu_")
    return f"{value:.1f}" if name.startswith(coarse) else f"{value:.3f}"
