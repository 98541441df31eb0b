"""What an interval is worth with few runs: how often it held the truth in simulated studies.

The shares come from `python -m benchmarks coverage`, which writes coverage.csv beside this module.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

FEW = 5  # intervals from fewer runs or data sets are remarked on
TABLE = Path(__file__).with_name("coverage.csv")


def interval_note(units: int, unit: str) -> str:
    """What must be known about percentiles of resampled units, where nothing was simulated."""
    if units == 1:
        return f"one {unit}: no interval"
    return f"only {units} {unit}s: interval probably too narrow" if units < FEW else ""


def runs_note(runs: int, interval: str) -> str:
    """The same for an interval over runs, with the coverage that was measured."""
    if not 1 < runs < FEW:
        return interval_note(runs, "run")
    low, high = simulated_coverage(runs, interval)
    return f"only {runs} runs: held the truth in {low:.0%} to {high:.0%} of simulated studies"


@cache
def simulated_coverage(runs: int, interval: str) -> tuple[float, float]:
    """Lowest and highest share over settings and measures; nominal is 0.95."""
    table = _table()
    shares = table.loc[(table["runs"] == runs) & (table["interval"] == interval), "share"]
    return float(np.min(shares)), float(np.max(shares))


@cache
def _table() -> pd.DataFrame:
    table = pd.read_csv(TABLE)
    return table[table["measure"] != "false_claim"]
