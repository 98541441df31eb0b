"""Texts from templates: what a paper and the report's first page say of a study.

Marks of a template are << value >> and <% statement %>, which neither LaTeX nor reStructuredText
uses; a line that begins with %% is a statement, too, and leaves no line. A value that a template
wants and nobody gives is an error.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agent.evaluation.captions import count, runs_of
from agent.evaluation.tables import escape, policy_label

TEMPLATES = Path(__file__).with_name("templates")
NO_INTERVAL = "[no interval]"
ALGORITHMS = {
    "gae": "PPO",
    "grpo": "GRPO",
    "rloo": "RLOO",
    "reinforce_plus_plus": "REINFORCE++",
}
FINE_TUNING = "rejection-sampled fine-tuning"
CONFINING_TIERS = ("namespaces", "landlock")


def fill(template: str, **facts: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        line_statement_prefix="%%",
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "tex": escape,
        "policy": policy_label,
        "plain": lambda number: f"{number:.10g}",
        "score": lambda number: f"{number:.2f}",
        "signed": lambda number: f"{number:+.2f}",
        "interval": _interval,
        "counted": count,
        "machines": machines_in_words,
    }
    environment.globals |= {
        "runs": lambda seeds: runs_of(pd.Series(seeds)),
        "algorithms": ALGORITHMS,
        "trained_by": trained_by,
        "confined": confined,
        "repeats_exactly": repeats_exactly,
    }
    return environment.get_template(template).render(**facts)


def _interval(ends: tuple[float | None, float | None]) -> str:
    low, high = ends
    return NO_INTERVAL if low is None or high is None else f"[{low:.2f}, {high:.2f}]"


def machines_in_words(found: Mapping[str, Any]) -> str:
    """How many machines worked, and what they are."""
    gpus = ["GPUs of an unknown model"] if found["gpus"] is None else found["gpus"]
    return f"{count(found['count'], 'machine')} ({', '.join([*found['cpus'], *gpus])})"


def trained_by(config: Mapping[str, Any]) -> str:
    """What a study's updates are."""
    training, algorithm = config["training"], ALGORITHMS[config["ppo"]["advantage"]]
    imitated = training["rft_iterations"]
    if imitated == training["iterations"]:
        return FINE_TUNING
    return f"{FINE_TUNING} (the first {imitated}) and {algorithm}" if imitated else algorithm


def confined(sandbox: str) -> bool:
    """Whether all tiers confine that programs ran under; `sandbox` is the headline's."""
    return all(tier.startswith(CONFINING_TIERS) for tier in sandbox.split("; "))


def repeats_exactly(config: Mapping[str, Any]) -> bool:
    """Whether the same settings give the same results on a CPU: without servers and clocks."""
    served = config["vllm"] or config["evaluation"]["api_models"]
    return not served and not config["ppo"]["duration_aware"]


def groups_of(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How many competitions, from how many data sets, each group of the table has."""
    return {
        str(group): {"competitions": len(rows), "data_sets": rows["data_set"].nunique()}
        for group, rows in table.groupby("group")
    }
