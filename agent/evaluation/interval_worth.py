"""What an interval is worth: how often its kind held the truth in simulated studies.

The shares come from `python -m benchmarks coverage`, which writes coverage.csv beside this module.
"""

from functools import cache
from pathlib import Path

import pandas as pd

FEW = 5  # intervals from fewer runs or data sets are always remarked on
ENOUGH = 0.93  # other intervals are when a lower share was measured; nominal is 0.95
TABLE = Path(__file__).with_name("coverage.csv")


def runs_note(runs: int, interval: str) -> str:
    """What must be known about an interval of this kind over so many runs; "" for nothing."""
    return _note(runs, "run", *simulated_coverage(interval, runs))


def data_sets_note(data_sets: int, runs: int) -> str:
    """The same about percentiles of resampled data sets, which hold the runs fixed."""
    found = simulated_coverage("data_sets", runs, data_sets)
    return _note(data_sets, "data set", *found, also=", training runs held fixed")


def _note(units: int, unit: str, low: float, high: float, studies: str, also: str = "") -> str:
    if units == 1:
        return f"one {unit}: no interval"
    if units >= FEW and low >= ENOUGH:
        return ""
    counted = f"{'only ' if units < FEW else ''}{units} {unit}s{also}"
    return f"{counted}: held the truth in {low:.0%} to {high:.0%} of {studies}"


@cache
def simulated_coverage(
    interval: str, runs: int, data_sets: int | None = None
) -> tuple[float, float, str]:
    """Lowest and highest share over settings and measures, and which studies these are of.

    They are those of as many runs and data sets or, where none were simulated, the nearest.
    """
    table = _table()
    table, studies = table[table["interval"] == interval], []
    for column, wanted in (("data_sets", data_sets), ("runs", runs)):
        if wanted is not None:
            nearest = min(table[column].unique(), key=lambda number: abs(number - wanted))
            table = table[table[column] == nearest]
            if nearest != wanted:
                studies.append(f"{nearest:.0f} {column.replace('_', ' ')}")
    of_others = f" with {' and '.join(studies)}" if studies else ""
    return table["share"].min(), table["share"].max(), f"simulated studies{of_others}"


@cache
def _table() -> pd.DataFrame:
    table = pd.read_csv(TABLE)
    return table[~table["measure"].str.startswith("false_claim")]
