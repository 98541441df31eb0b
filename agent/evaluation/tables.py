"""Tables for print: CSV for machines, LaTeX (booktabs) for papers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from agent.evaluation.headline import GROUP, best_of_n_attempts, statistics_row
from agent.evaluation.inputs import AGENTS, BEST_OF_N

RESULTS_HEADER = (
    "Policy",
    "Runs",
    r"IQM [95\,\% CI]",
    "Mean",
    "First",
    "Last",
    "Valid",
    r"Gain of trained [95\,\% CI]",
    "P(improvement)",
    "$p$ (Holm)",
)
COMPETITIONS_HEADER = (
    "Competition",
    "Task",
    "Base",
    "Trained",
    r"Gain [95\,\% CI]",
    "P(impr.)",
    "$p$ (Holm)",
)
NO_VALUE = "--"


def results_table(statistics: pd.DataFrame) -> pd.DataFrame:
    """One row per policy on the held-out competitions; empty where a measure is not defined."""
    scores = statistics[(statistics["measure"] == "score") & (statistics["group"] == GROUP)]
    return pd.DataFrame([_policy_row(statistics, name) for name in scores["policy"].unique()])


def _policy_row(statistics: pd.DataFrame, policy: str) -> dict[str, object]:
    iqm = statistics_row(statistics, "score", policy)
    row = {
        "policy": policy,
        "n_runs": int(iqm["n_runs"]),
        "n_missing_runs": int(iqm["n_missing_runs"]),
        "missing_runs": iqm["missing_runs"],
        "n_competitions": int(iqm["n_competitions"]),
        **_ends("iqm", iqm),
        "mean": statistics_row(statistics, "score", policy, aggregate="mean")["value"],
    }
    for column, aggregate in (
        ("first_score", "iqm"),
        ("last_score", "iqm"),
        ("valid_rate", "ratio"),
    ):
        row[column] = (
            statistics_row(statistics, column, policy, aggregate=aggregate)["value"]
            if policy in AGENTS
            else np.nan
        )
    for measure, aggregate in (("gain", "iqm"), ("probability_of_improvement", "mean")):
        if policy == "trained":
            row |= dict.fromkeys((measure, f"{measure}_low", f"{measure}_high"), np.nan)
        else:
            row |= _ends(measure, statistics_row(statistics, measure, "trained", policy, aggregate))
    row["gain_p_adjusted"] = np.nan
    row["attempts"] = best_of_n_attempts(statistics) if policy == BEST_OF_N else np.nan
    row["note"] = iqm["note"]
    if policy != "trained":
        gain = statistics_row(statistics, "gain", "trained", policy)
        row |= {"gain_p_adjusted": gain["p_adjusted"], "note": gain["note"]}
    return row


def _ends(name: str, row: pd.Series) -> dict[str, object]:
    return {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}


def results_latex(results: pd.DataFrame) -> str:
    rows = [
        (
            _named(row),
            runs_cell(row["n_runs"], row["n_missing_runs"]),
            interval_cell(row["iqm"], row["iqm_low"], row["iqm_high"]),
            *(number_cell(row[column]) for column in ("mean", "first_score", "last_score")),
            number_cell(row["valid_rate"]),
            interval_cell(row["gain"], row["gain_low"], row["gain_high"], sign=True),
            number_cell(row["probability_of_improvement"]),
            p_value_cell(row["gain_p_adjusted"]),
        )
        for _, row in results.iterrows()
    ]
    of_trained = results.loc[results["policy"] == "trained", "note"]
    missing = dict(zip(results["policy"], results["missing_runs"], strict=True))
    return booktabs(RESULTS_HEADER, rows, "lrlrrrrlrr", worth(of_trained, missing))


def _named(row: pd.Series) -> str:
    """The policy, and of how many attempts the best counts."""
    if row["policy"] == BEST_OF_N:
        return f"Base best of {row['attempts']:g}"
    return policy_label(row["policy"])


def runs_cell(present: int, missing: int) -> str:
    return f"{present} of {present + missing}" if missing else str(present)


def worth(notes: pd.Series, missing: Mapping[str, str]) -> str:
    """What the intervals are worth, as rows of a table say it, each remark once, and which runs are
    missing of what; "" for nothing to say. A text that was read back may be NaN for "".
    """
    remarks = dict.fromkeys(part for note in notes.dropna() for part in note.split("; ") if part)
    of_runs: dict[str, list[str]] = {}
    for name, runs in missing.items():
        if pd.notna(runs) and runs:
            of_runs.setdefault(runs, []).append(name.replace("_", " "))
    lost = [f"{runs} of {' and '.join(names)}" for runs, names in of_runs.items()]
    sentences = (f"Intervals: {'; '.join(remarks)}.", f"Missing: {'; '.join(lost)}.")
    return " ".join(text for text, said in zip(sentences, (remarks, lost), strict=True) if said)


def competitions_latex(competitions: pd.DataFrame) -> str:
    """Held-out competitions, largest gain first."""
    played = competitions[competitions["group"] == GROUP]
    ordered = played.sort_values(["gain", "competition"], ascending=[False, True])
    rows = [
        (
            escape(row["competition"]),
            escape(row["task_type"]),
            number_cell(row["base"]),
            number_cell(row["trained"]),
            interval_cell(row["gain"], row["low"], row["high"], sign=True),
            number_cell(row["probability_of_improvement"]),
            p_value_cell(row["p_adjusted"]),
        )
        for _, row in ordered.iterrows()
    ]
    missing = {agent: ordered[f"missing_runs_{agent}"].iloc[0] for agent in AGENTS}
    return booktabs(COMPETITIONS_HEADER, rows, "llrrlrr", worth(ordered["note"], missing))


def booktabs(
    header: Sequence[str], rows: Sequence[Sequence[str]], columns: str, note: str = ""
) -> str:
    """A tabular environment, to be \\input into a table; needs only the booktabs package.

    A note stands below it as a paragraph that is as wide as the table.
    """
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _line(header), r"\midrule"]
    lines += [_line(row) for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    if note:
        lines[0] = r"\sbox0{" + lines[0]
        lines[-1] += "}%"
        below = rf"\usebox0\par\smallskip\footnotesize\raggedright {escape(note)}"
        lines += [r"\begin{minipage}{\wd0}", below, r"\end{minipage}%"]
    return "\n".join([*lines, ""])


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def policy_label(policy: str) -> str:
    return escape(policy.replace("_", " ").capitalize())


def escape(text: str) -> str:
    """`text` with the characters escaped that LaTeX would take for commands."""
    replaced = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(
        replaced.get(character, "\\" + character if character in "&%$#_{}" else character)
        for character in text
    )


def number_cell(value: float, sign: bool = False) -> str:
    if pd.isna(value):
        return NO_VALUE
    return f"${value:+.3f}$" if sign else f"{value:.3f}"


def p_value_cell(value: float) -> str:
    return "$<0.001$" if value < 0.001 else number_cell(value)


def interval_cell(value: float, low: float, high: float, sign: bool = False) -> str:
    interval = "" if pd.isna(low) else f" [{number_cell(low, sign)}, {number_cell(high, sign)}]"
    return number_cell(value, sign) + interval
