"""The few numbers a reader asks for first, looked up in the tables, and in plain words."""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from agent.evaluation.inputs import AGENTS, BEST_OF_N, JUDGING_ANSWERS, Scoring

GROUP = "held_out"
LEVEL = 0.05  # of the tests, two-sided
POOL_YARDSTICKS = ("best_fixed_program", "fixed_portfolio", "random_program")


def headline(
    statistics: pd.DataFrame,
    competitions: pd.DataFrame,
    turns: pd.DataFrame,
    timing: dict[str, Any],
) -> dict[str, Any]:
    """The headline of a study on its held-out competitions; scores are IQMs.

    Intervals are clustered by run: for new training runs on the same competitions. For comparison
    `gain_ci_within_competitions` has percentiles of runs drawn again within each competition
    (rliable), `gain_ci_by_run` of whole runs, `gain_ci_by_data_set` of whole data sets; notes say
    what they are worth. An interval that cannot be had is [null, null]; `gain_p_value` is corrected
    for `n_comparisons`.
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
        interval: statistics_row(statistics, "gain", "trained", "base", interval=interval)
        for interval in ("clustered", "stratified", "runs", "data_sets")
    }
    main = gain["clustered"]
    improvement = statistics_row(
        statistics, "probability_of_improvement", "trained", "base", "mean"
    )
    return {
        "n_seeds": int(main["n_runs"]),
        "n_missing_seeds": int(main["n_missing_runs"]),
        "missing_seeds": "" if pd.isna(main["missing_runs"]) else main["missing_runs"],
        "n_competitions": len(played),
        "n_data_sets": int(played["data_set"].nunique()),
        "n_improved_competitions": int((played["gain"] > 0).sum()),
        **{f"iqm_{agent}": _value(statistics, "score", agent) for agent in AGENTS},
        "gain": float(main["value"]),
        "gain_ci": _interval(main),
        "gain_p_value": _number(main["p_adjusted"]),
        "n_comparisons": int((statistics["family"] == main["family"]).sum()),
        "improvement_shown": shows_improvement(main),
        "gain_ci_within_competitions": _interval(gain["stratified"]),
        "gain_ci_by_run": _interval(gain["runs"]),
        "gain_ci_by_data_set": _interval(gain["data_sets"]),
        "gain_ci_by_data_set_note": _notes([gain["data_sets"]]),
        "interval_note": _notes([main]),
        "probability_of_improvement": float(improvement["value"]),
        "probability_of_improvement_ci": _interval(improvement),
        **_generalisation(statistics),
    }


def shows_improvement(gain: pd.Series) -> bool:
    """Whether a row of the table of measures is declared an improvement, after correction."""
    return bool(gain["p_adjusted"] < LEVEL and gain["value"] > 0)


def _generalisation(statistics: pd.DataFrame) -> dict[str, Any]:
    """How much is lost from feedback to final half, and from training to held-out competitions.

    The former is None where feedback came from all answers, the latter where the study does not
    evaluate on training competitions.
    """
    feedback: dict[str, str] = {"aggregate": "mean"}
    groups: dict[str, str] = {"against": "held_out", "group": "train"}
    gaps = (
        *((f"feedback_gap_{agent}", "feedback_gap", agent, feedback) for agent in AGENTS),
        *((f"generalisation_gap_{agent}", "generalisation_gap", agent, groups) for agent in AGENTS),
        ("gain_gap", "gain_gap", "trained", groups),
    )
    known = set(statistics["measure"])
    numbers: dict[str, Any] = {}
    for name, measure, agent, where in gaps:
        is_known = ("feedback_gap" if where is feedback else "gain_gap") in known
        row = statistics_row(statistics, measure, agent, **where) if is_known else None
        numbers[name] = None if row is None else float(row["value"])
        numbers[f"{name}_ci"] = [None, None] if row is None else _interval(row)
    return numbers


def _yardsticks(statistics: pd.DataFrame) -> dict[str, Any]:
    """Fixed and random programs are known where a reference pool is, and None elsewhere."""
    iqm = {policy: _value(statistics, "score", policy) for policy in _policies(statistics)}
    for name in (BEST_OF_N, "dummy"):
        if name not in iqm:
            raise ValueError(f"statistics: yardstick {name} is missing in {GROUP}; evaluate it")
    over_fixed: dict[str, Any] = dict.fromkeys(("value", "ci", "ci_by_run", "p_value"))
    if "best_fixed_program" in iqm:
        pair = ("gain", "trained", "best_fixed_program")
        row = statistics_row(statistics, *pair)
        over_fixed = {
            "value": float(row["value"]),
            "ci": _interval(row),
            "ci_by_run": _interval(statistics_row(statistics, *pair, interval="runs")),
            "p_value": _number(row["p_adjusted"]),
        }
    return {
        "best_of_n_base": iqm[BEST_OF_N],
        "best_of_n_attempts": best_of_n_attempts(statistics),
        **{name: iqm.get(name) for name in (*POOL_YARDSTICKS, "dummy")},
        "gain_over_best_fixed_program": over_fixed["value"],
        "gain_over_best_fixed_program_ci": over_fixed["ci"],
        "gain_over_best_fixed_program_ci_by_run": over_fixed["ci_by_run"],
        "gain_over_best_fixed_program_p_value": over_fixed["p_value"],
    }


def best_of_n_attempts(statistics: pd.DataFrame) -> int | float:
    """The n of the base's best of n; where some competitions had fewer attempts, n is a mean."""
    n = _value(statistics, "attempts", BEST_OF_N, aggregate="mean")
    return int(n) if n.is_integer() else round(n, 2)


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
    interval: str = "clustered",
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


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _notes(rows: Iterable[pd.Series]) -> str:
    """What the rows say against their own intervals, each remark once."""
    notes = [row["note"] for row in rows if pd.notna(row["note"])]  # read back, "" is missing
    return "; ".join(dict.fromkeys(filter(None, notes)))


def describe(numbers: dict[str, Any], scoring: Scoring = "halves") -> str:
    """The headline as plain text, one statement per line; `scoring` says which answers judge."""
    n = numbers
    return "\n".join(
        [
            f"{n['n_seeds']} training runs"
            + (f" (begun and missing: {n['missing_seeds']})" if n["missing_seeds"] else "")
            + f", {n['n_competitions']} held-out competitions from {n['n_data_sets']} data sets "
            "(IQM of position scores, 95 % intervals)",
            f"base {n['iqm_base']:.3f} -> trained {n['iqm_trained']:.3f}; "
            f"{n['n_improved_competitions']} of {n['n_competitions']} competitions improved",
            f"gain {n['gain']:+.3f} {_brackets(n['gain_ci'])} for new runs on these competitions"
            + (f" ({n['interval_note']})" if n["interval_note"] else "")
            + f"; over data sets {_brackets(n['gain_ci_by_data_set'])}"
            + (f" ({n['gain_ci_by_data_set_note']})" if n["gain_ci_by_data_set_note"] else ""),
            f"improvement over the base {'shown' if n['improvement_shown'] else 'NOT shown'}: "
            f"{_p_value(n['gain_p_value'])}, corrected for {n['n_comparisons']} comparisons (Holm)",
            f"probability of improvement {n['probability_of_improvement']:.3f} "
            f"{_brackets(n['probability_of_improvement_ci'])}",
            f"first attempt {n['first_attempt_base']:.3f} -> {n['first_attempt_trained']:.3f}; "
            f"later attempts add {n['later_attempts_gain_base']:+.3f} -> "
            f"{n['later_attempts_gain_trained']:+.3f}; valid programs "
            f"{n['base_valid_rate']:.0%} -> {n['trained_valid_rate']:.0%}",
            f"yardsticks: dummy {n['dummy']:.3f}, "
            f"base best of {n['best_of_n_attempts']} first attempts {n['best_of_n_base']:.3f}"
            + "".join(
                f", {name.replace('_', ' ')} {n[name]:.3f}"
                for name in POOL_YARDSTICKS
                if n[name] is not None
            ),
            *_against_fixed(n),
            *_gaps(n, scoring),
            f"sandbox: {n['sandbox']}; hack attempts per 1,000 actions "
            f"{n['hack_attempts_per_1000_actions_base']:.1f} -> "
            f"{n['hack_attempts_per_1000_actions_trained']:.1f}",
            f"{n['wall_seconds'] / 60:.1f} min of work, {n['useful_time_share']:.0%} of busy core "
            f"time useful, {n['named_time_share']:.1%} of core time named, peak memory "
            f"{n['peak_memory_gib']:.2f} GiB",
        ]
    )


def _against_fixed(n: dict[str, Any]) -> list[str]:
    gain, margin = n["gain_over_best_fixed_program"], n["gain_over_best_fixed_program_ci"]
    if gain is None:
        return []
    p_value = n["gain_over_best_fixed_program_p_value"]
    return [
        f"trained {_verdict(p_value, gain)} the best fixed program in IQM "
        f"({gain:+.3f} {_brackets(margin)}, {_p_value(p_value)})"
    ]


def _gaps(n: dict[str, Any], scoring: Scoring) -> list[str]:
    """What is lost on answers and competitions that training has not seen."""
    gaps = []
    if n["feedback_gap_trained"] is not None:
        gaps.append(
            f"feedback half above {JUDGING_ANSWERS[scoring].removeprefix('the ')}: "
            f"base {n['feedback_gap_base']:+.3f}, trained "
            f"{n['feedback_gap_trained']:+.3f} {_brackets(n['feedback_gap_trained_ci'])}"
        )
    if n["gain_gap"] is not None:
        gaps.append(
            f"training above held-out competitions: base {n['generalisation_gap_base']:+.3f}, "
            f"trained {n['generalisation_gap_trained']:+.3f}; the gain by {n['gain_gap']:+.3f} "
            f"{_brackets(n['gain_gap_ci'])}"
        )
    return gaps


def _verdict(p_value: float | None, value: float) -> str:
    if p_value is None or p_value >= LEVEL:
        return "does not clearly beat"
    return "beats" if value > 0 else "does NOT beat"


def _p_value(value: float | None) -> str:
    if value is None:
        return "no p-value"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _brackets(interval: list[float | None]) -> str:
    low, high = interval
    return "[no interval]" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"
