"""The paper kit: a study's numbers as LaTeX macros, and a paper that quotes nothing else.

Macros begin with `res`, then come the words of the number's name: `iqm_base` is `\\resIqmBase`, the
ends of `gain_ci` are `\\resGainCiLow` and `\\resGainCiHigh`; digits are spelt, one by one.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
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
# The name of a macro has no digits.
DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
IN_LETTERS = {"1000": "Thousand"} | {str(digit): word for digit, word in enumerate(DIGITS)}


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
        "policies": set(study.results["policy"]),
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
        "numbers.tex": macros(numbers(study)),
        "timing.tex": f"{macros(written(measured))}{captions.pop(MEASURED_FIGURE)}\n",
        "config.yaml": yaml.safe_dump(dict(study.config), sort_keys=False, width=100),
        "captions.tex": "\n".join([*captions.values(), ""]),
    }


def numbers(study: Study) -> Iterator[tuple[str, str]]:
    """Every number as it is written, by name: headline, table of results, sizes of the study."""
    told = study.headline.items()
    yield from written({name: value for name, value in told if name not in MEASURED_TIME})
    for _, row in study.results.iterrows():
        for column in RESULT_COLUMNS:
            versus = "gain" in column or "improvement" in column
            name = f"table_{column}_{'over_' if versus else ''}{row['policy']}"
            if pd.notna(row[column]):
                yield from written({name: row[column]}, column)
                if f"{column}_low" in row and pd.notna(row[f"{column}_low"]):
                    ends = [row[f"{column}_low"], row[f"{column}_high"]]
                    yield from written({f"{name}_ci": ends}, column)
    sizes = {
        f"n_{group}_{what}": number
        for group, of_group in groups_of(study.competitions).items()
        for what, number in of_group.items()
    }
    yield from written(sizes)
    training, evaluation = study.config["training"], study.config["evaluation"]
    yield from written({"n_updates": training["iterations"]})
    yield from written({"n_episodes_per_update": training["episodes"]})
    yield from written({"n_evaluation_episodes": evaluation["episodes"]})


def written(named: Mapping[str, Any], kind: str = "") -> Iterator[tuple[str, str]]:
    """Names and texts, two for the ends of an interval; without a kind the name tells it."""
    for name, value in named.items():
        if isinstance(value, list) or (value is None and "_ci" in name):
            for end, number in zip(("low", "high"), value or (None, None), strict=True):
                yield f"{name}_{end}", in_tex(kind or name, number)
        else:
            yield name, in_tex(kind or name, value)


def macros(texts: Iterable[tuple[str, str]]) -> str:
    """One \\newcommand per name and text.

    Where two names would share a macro, as those of policies gpt4o and gpt_4o would, the second
    gets another one, and its line says whose it is.
    """
    lines: dict[str, str] = {}
    for name, text in texts:
        free = macro(name)
        while free in lines:
            free += "Again"
        whose = "" if free == macro(name) else f" % {name}"
        lines[free] = command(free, text) + whose
    return "\n".join([*lines.values(), ""])


def command(name: str, text: str) -> str:
    return rf"\newcommand{{\{name}}}{{{text}}}"


def macro(name: str, prefix: str = "res") -> str:
    """The name of the macro for a number (`res`) or a figure's caption (`caption`)."""
    spelt = re.sub("|".join(IN_LETTERS), lambda digits: f"_{IN_LETTERS[digits[0]]}_", name)
    return prefix + "".join(word.capitalize() for word in spelt.split("_"))


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
