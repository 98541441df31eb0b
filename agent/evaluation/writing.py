"""Texts from templates: what a paper and the report's first page say of a study.

Marks of a template are << value >> and <% statement %>, which neither LaTeX nor reStructuredText
uses. A value that a template wants and nobody gives is an error.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agent.evaluation.captions import runs_of
from agent.evaluation.tables import escape

TEMPLATES = Path(__file__).with_name("templates")
NO_INTERVAL = "[no interval]"


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
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "tex": escape,
        "plain": lambda number: f"{number:.10g}",
        "score": lambda number: f"{number:.2f}",
        "signed": lambda number: f"{number:+.2f}",
        "interval": _interval,
    }
    environment.globals["runs"] = lambda seeds: runs_of(pd.Series(seeds))
    return environment.get_template(template).render(**facts)


def _interval(ends: tuple[float | None, float | None]) -> str:
    low, high = ends
    return NO_INTERVAL if low is None or high is None else f"[{low:.2f}, {high:.2f}]"


def groups_of(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How many competitions, from how many data sets, each group of the table has."""
    return {
        str(group): {"competitions": len(rows), "data_sets": rows["data_set"].nunique()}
        for group, rows in table.groupby("group")
    }
