"""Series predicted from their own past.

Lags are odd and test rows are two steps apart, so that the answer to one test row is never a
feature of another one.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from agent.competitions.data_sets import DataSet
from agent.competitions.problem import Problem, ProblemBuilder


def lagged(series: pd.Series, steps: tuple[int, ...], prefix: str = "lag") -> pd.DataFrame:
    """One column per step: `lag3` holds the value three rows earlier."""
    return pd.DataFrame({f"{prefix}{step}": series.shift(step) for step in steps})


def forecast(
    title: str, about: str, data_set: DataSet, features: pd.DataFrame, target: pd.Series,
    train_rows: int,
) -> Problem:  # fmt: skip
    """A time-ordered problem: the first `train_rows` train, then every second row may be asked."""
    known = (features.notna().all(axis=1) & target.notna()).to_numpy()
    step = np.flatnonzero(known)  # of the series, gaps included
    first_test = step[train_rows]
    asked = (step >= first_test) & ((step - first_test) % 2 == 0)
    kept = (step < first_test) | asked
    return Problem(
        title=title,
        about=about,
        data_set=data_set,
        features=features[known][kept].reset_index(drop=True),
        target=target[known][kept].to_numpy(),
        classes=0,
        train_rows=train_rows,
        held_back=asked[kept],
        ordered=True,
    )


def direction(problem: Problem, title: str, about: str) -> Problem:
    """The same forecast, asking only whether the next value lies above the latest one."""
    rises = problem.target > problem.features["lag1"].to_numpy()
    return replace(problem, title=title, about=about, target=rises.astype(int), classes=2)


def _co2(data_set: DataSet) -> Problem:
    about = "Next month's carbon dioxide over Mauna Loa (ppm), from up to 13 months before."
    monthly = data_set.table["co2"].resample("MS").mean()
    features = lagged(monthly, (1, 3, 5, 7, 9, 11, 13))
    return forecast("Carbon dioxide", about, data_set, features, monthly, train_rows=200)


def _sunspots(data_set: DataSet) -> Problem:
    about = "Next year's number of sunspots, from up to 11 years before."
    numbers = data_set.table["SUNACTIVITY"]
    features = lagged(numbers, (1, 3, 5, 7, 9, 11))
    return forecast("Sunspots", about, data_set, features, numbers, train_rows=130)


def _sunspots_up(data_set: DataSet) -> Problem:
    about = "Will there be more sunspots next year than this year?"
    return direction(_sunspots(data_set), "Rising sunspots", about)


def _investment(data_set: DataSet) -> Problem:
    about = "Next quarter's real investment in the United States (billion dollars)."
    table = data_set.table
    parts = [lagged(table["realinv"], (1, 3, 5))]
    for other in ("realgdp", "realcons", "unemp", "infl", "tbilrate"):
        parts.append(lagged(table[other], (1, 3), f"{other}_lag"))
    features = pd.concat(parts, axis=1)
    return forecast("Investment", about, data_set, features, table["realinv"], train_rows=100)


def _german_interest(data_set: DataSet) -> Problem:
    about = "Next quarter's German interest rate (%); dp_lag1 is this quarter's inflation (%)."
    table = data_set.table
    rate = 100 * table["R"]
    features = lagged(rate, (1, 3, 5)).join(lagged(100 * table["Dp"], (1, 3), "dp_lag"))
    features["quarter"] = table["quarter"]
    return forecast("German interest rate", about, data_set, features, rate, train_rows=40)


def _elnino(data_set: DataSet) -> Problem:
    about = "Next month's temperature of the sea off Peru (degrees Celsius); month is 1-12."
    values = pd.Series(data_set.table.drop(columns="YEAR").to_numpy().ravel())
    features = lagged(values, (1, 3, 5, 7, 9, 11, 13))
    features["month"] = values.index % 12 + 1
    return forecast("Sea temperature", about, data_set, features, values, train_rows=300)


def _elnino_up(data_set: DataSet) -> Problem:
    about = "Will the sea off Peru be warmer next month than this month?"
    return direction(_elnino(data_set), "Warming sea", about)


# name -> (data set, builder)
SERIES_PROBLEMS: dict[str, tuple[str, ProblemBuilder]] = {
    "co2": ("co2", _co2),
    "sunspots": ("sunspots", _sunspots),
    "sunspots-up": ("sunspots", _sunspots_up),
    "investment": ("macrodata", _investment),
    "german-interest": ("interest_inflation", _german_interest),
    "elnino": ("elnino", _elnino),
    "elnino-up": ("elnino", _elnino_up),
}
