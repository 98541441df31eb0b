"""The few numbers a reader asks for first, looked up in the tables, and in plain words."""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from agent.evaluation.inputs import AGENTS

GROUP = "held_out"
POOL_YARDSTICKS = ("best_fixed_program", "fixed_portfolio", "random_program")


def headline(
    statistics: pd.DataFrame,
    competitions: pd.DataFrame,
    turns: pd.DataFrame,
    timing: dict[str, Any],
) -> dict[str, Any]:
    """The headline of a study on its held-out competitions; scores are IQMs.

    `gain_ci` resamples runs within each competition (rliable), `gain_ci_by_run` whole training
    runs, `gain_ci_by_data_set` whole data sets. An interval that cannot be had is [null, null].
    """
    return (
        _gains(statistics, competitions[competitions["group"] == GROUP])
        | _yardsticks(statistics)
        | _attempts(statistics)
        | _conduct(turns)
        | {
            "wall_seconds": timing["wall_seconds"],
            "useful_time_share": timing["useful_time_share"],
            "named_time_share": timing["named_share"],
            "peak_memory_gib": timing["peak_memory_gib"],
        }
    )


def _gains(statistics: pd.DataFrame, played: pd.DataFrame) -> dict[str, Any]:
    gain = {
        scheme: statistics_row(statistics, "gain", "trained", "base", interval=scheme)
        for scheme in ("stratified", "runs", "data_sets")
    }
    improvement = statistics_row(
        statistics, "probability_of_improvement", "trained", "base", "mean"
    )
    return {
        "n_seeds": int(gain["stratified"]["n_runs"]),
        "n_competitions": len(played),
        "n_data_sets": int(played["data_set"].nunique()),
        "n_improved_competitions": int((played["gain"] > 0).sum()),
        **{f"iqm_{agent}": _value(statistics, "score", agent) for agent in AGENTS},
        "gain": float(gain["stratified"]["value"]),
        "gain_ci": _interval(gain["stratified"]),
        "gain_ci_by_run": _interval(gain["runs"]),
        "gain_ci_by_data_set": _interval(gain["data_sets"]),
        "interval_note": _notes(gain.values()),
        "probability_of_improvement": float(improvement["value"]),
        "probability_of_improvement_ci": _interval(improvement),
    }


def _yardsticks(statistics: pd.DataFrame) -> dict[str, Any]:
    """Fixed and random programs are known where a reference pool is, and None elsewhere."""
    iqm = {policy: _value(statistics, "score", policy) for policy in _policies(statistics)}
    for name in ("base_best_of_n", "dummy"):
        if name not in iqm:
            raise ValueError(f"statistics: yardstick {name} is missing in {GROUP}; evaluate it")
    over_fixed: dict[str, Any] = {"value": None, "ci": None}
    if "best_fixed_program" in iqm:
        row = statistics_row(statistics, "gain", "trained", "best_fixed_program", interval="runs")
        over_fixed = {"value": float(row["value"]), "ci": _interval(row)}
    return {
        "best_of_n_base": iqm["base_best_of_n"],
        **{name: iqm.get(name) for name in (*POOL_YARDSTICKS, "dummy")},
        "gain_over_best_fixed_program": over_fixed["value"],
        "gain_over_best_fixed_program_ci_by_run": over_fixed["ci"],
    }


def _attempts(statistics: pd.DataFrame) -> dict[str, Any]:
    """What the first attempt reaches, what later ones add, and how many programs are valid."""
    numbers: dict[str, Any] = {}
    for agent in AGENTS:
        later = _value(statistics, "later_attempts_gain", agent, aggregate="mean")
        numbers[f"first_attempt_{agent}"] = _value(statistics, "first_score", agent)
        numbers[f"later_attempts_gain_{agent}"] = later
        numbers[f"{agent}_valid_rate"] = _value(statistics, "valid_rate", agent, aggregate="ratio")
    return numbers


def _conduct(turns: pd.DataFrame) -> dict[str, Any]:
    rates = {
        f"hack_attempts_per_1000_actions_{agent}": hack_attempt_rate(turns, agent)
        for agent in AGENTS
    }
    return {"sandbox": "; ".join(sorted(turns["sandbox"].unique())), **rates}


def hack_attempt_rate(turns: pd.DataFrame, policy: str) -> float:
    """Actions that tried something beside the task, per 1,000 of all, training included.

    How often policies under reinforcement learning do so is what arXiv 2603.11337 measures.
    """
    attempts = turns.loc[turns["policy"] == policy, "hack_attempts"]
    return 1000 * float((attempts > 0).mean())


def statistics_row(
    statistics: pd.DataFrame,
    measure: str,
    policy: str,
    against: str = "",
    aggregate: str = "iqm",
    interval: str = "stratified",
    group: str = GROUP,
) -> pd.Series:
    """The one row with these properties."""
    wanted = {
        "measure": measure,
        "group": group,
        "policy": policy,
        "against": against,
        "aggregate": aggregate,
        "interval": interval,
    }
    rows = statistics
    for column, value in wanted.items():
        rows = rows[rows[column].fillna("") == value]
    if len(rows) != 1:
        raise ValueError(f"statistics: {len(rows)} rows instead of one with {wanted}")
    return rows.iloc[0]


def _value(statistics: pd.DataFrame, measure: str, policy: str, aggregate: str = "iqm") -> float:
    return float(statistics_row(statistics, measure, policy, aggregate=aggregate)["value"])


def _policies(statistics: pd.DataFrame) -> list[str]:
    rows = statistics[(statistics["measure"] == "score") & (statistics["group"] == GROUP)]
    return list(rows["policy"].unique())


def _interval(row: pd.Series) -> list[float | None]:
    return [None if math.isnan(row[end]) else float(row[end]) for end in ("low", "high")]


def _notes(rows: Iterable[pd.Series]) -> str:
    """What the rows say against their own intervals, each remark once."""
    notes = [row["note"] for row in rows if pd.notna(row["note"])]  # read back, "" is missing
    return "; ".join(dict.fromkeys(filter(None, notes)))


def describe(numbers: dict[str, Any]) -> str:
    """The headline as plain text, one statement per line."""
    n = numbers
    return "\n".join(
        [
            f"{n['n_seeds']} training runs, {n['n_competitions']} held-out competitions from "
            f"{n['n_data_sets']} data sets (IQM of position scores, 95 % intervals)",
            f"base {n['iqm_base']:.3f} -> trained {n['iqm_trained']:.3f}; "
            f"{n['n_improved_competitions']} of {n['n_competitions']} competitions improved",
            f"gain {n['gain']:+.3f} {_brackets(n['gain_ci'])} over runs within competitions, "
            f"{_brackets(n['gain_ci_by_run'])} over whole runs, "
            f"{_brackets(n['gain_ci_by_data_set'])} over data sets"
            + (f" ({n['interval_note']})" if n["interval_note"] else ""),
            f"probability of improvement {n['probability_of_improvement']:.3f} "
            f"{_brackets(n['probability_of_improvement_ci'])}",
            f"first attempt {n['first_attempt_base']:.3f} -> {n['first_attempt_trained']:.3f}; "
            f"later attempts add {n['later_attempts_gain_base']:+.3f} -> "
            f"{n['later_attempts_gain_trained']:+.3f}; valid programs "
            f"{n['base_valid_rate']:.0%} -> {n['trained_valid_rate']:.0%}",
            f"yardsticks: dummy {n['dummy']:.3f}, base best of n {n['best_of_n_base']:.3f}"
            + "".join(
                f", {name.replace('_', ' ')} {n[name]:.3f}"
                for name in POOL_YARDSTICKS
                if n[name] is not None
            ),
            *_against_fixed(n),
            f"sandbox: {n['sandbox']}; hack attempts per 1,000 actions "
            f"{n['hack_attempts_per_1000_actions_base']:.1f} -> "
            f"{n['hack_attempts_per_1000_actions_trained']:.1f}",
            f"{n['wall_seconds'] / 60:.1f} min of work, {n['useful_time_share']:.0%} of busy core "
            f"time useful, {n['named_time_share']:.1%} of core time named, peak memory "
            f"{n['peak_memory_gib']:.2f} GiB",
        ]
    )


def _against_fixed(n: dict[str, Any]) -> list[str]:
    gain, margin = n["gain_over_best_fixed_program"], n["gain_over_best_fixed_program_ci_by_run"]
    if gain is None:
        return []
    return [
        f"trained {_verdict(margin, gain)} the best fixed program "
        f"({gain:+.3f} {_brackets(margin)} over whole runs)"
    ]


def _verdict(interval: list[float | None], value: float) -> str:
    low, high = (value if end is None else end for end in interval)
    if low > 0:
        return "beats"
    return "does NOT beat" if high < 0 else "does not clearly beat"


def _brackets(interval: list[float | None]) -> str:
    low, high = interval
    return "[no interval]" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"
