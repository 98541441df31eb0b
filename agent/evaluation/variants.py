"""What a study's variants are worth: one row for each, the study as it is configured first.

Scores are IQMs on the held-out competitions; `gain` is over the variant's own base model,
`difference` and `probability_of_improvement` are against the study's trained policy. `_low` and
`_high` end 95 % intervals for new runs on the same competitions (clustered by run), `_p_adjusted`
is the p-value of no difference, corrected for asking the same of every variant; `note` says what
the intervals are worth.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from agent.evaluation.headline import GROUP
from agent.evaluation.multiplicity import adjust
from agent.evaluation.quantities import Comparison, Quantity, Row
from agent.evaluation.scores import score_matrix
from agent.evaluation.statistics import (
    Measure,
    ScoreMatrix,
    difference,
    iqm,
    probability_of_improvement,
)
from agent.evaluation.tables import (
    booktabs,
    escape,
    interval_cell,
    p_value_cell,
    runs_cell,
    worth,
)

AS_CONFIGURED = "as configured"
# Columns: the measure of the trained policy, and what it is compared with.
COLUMNS = {
    "score": ("score", ""),
    "gain": ("gain", "base"),
    "difference": ("gain", AS_CONFIGURED),
    "probability_of_improvement": ("probability_of_improvement", AS_CONFIGURED),
}
MEASURES: dict[str, Measure] = {
    "score": iqm,
    "gain": difference(iqm),
    "probability_of_improvement": probability_of_improvement,
}
SIZES = ("n_runs", "n_missing_runs", "missing_runs", "n_competitions")
ENDS = {"value": "", "low": "_low", "high": "_high", "p_adjusted": "_p_adjusted"}
HEADER = (
    "Variant",
    "Changes",
    "Runs",
    r"IQM [95\,\% CI]",
    r"Gain over base [95\,\% CI]",
    r"Difference [95\,\% CI]",
    r"P(improvement) [95\,\% CI]",
    "$p$ of difference (Holm)",
)


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant's scores, of its base model and of its trained policies."""

    name: str  # empty for the study as it is configured
    changes: str  # the keys it sets otherwise
    scores: pd.DataFrame


def compare_variants(
    variants: Sequence[Variant], resamples: int, seed: int, planned: tuple[int, ...] = ()
) -> pd.DataFrame:
    """One row per variant; the first is the study that the others are compared with."""
    reference = score_matrix(variants[0].scores, "trained", GROUP)
    cells = [
        cell | {"variant": variant.name}
        for variant in variants
        for cell in _cells(Comparison(variant.scores, resamples, seed, planned), variant, reference)
    ]
    by_variant = adjust(pd.DataFrame(cells)).groupby("variant")
    return pd.DataFrame([_row(variant, by_variant.get_group(variant.name)) for variant in variants])


def _cells(comparison: Comparison, variant: Variant, reference: ScoreMatrix) -> Iterator[Row]:
    base, trained = (score_matrix(variant.scores, name, GROUP) for name in ("base", "trained"))
    compared = {"": (), "base": (base,)} | ({AS_CONFIGURED: (reference,)} if variant.name else {})
    for column, (measure, against) in COLUMNS.items():
        if against not in compared:
            continue
        quantity = Quantity(measure, GROUP, "trained", against, "iqm")
        matrices = (trained, *compared[against])
        for row in comparison.rows(quantity, MEASURES[measure], *matrices, schemes=()):
            yield row | {"column": column, "family": column if against else ""}


def _row(variant: Variant, cells: pd.DataFrame) -> Row:
    by_column = cells.set_index("column").reindex(list(COLUMNS))
    row: Row = {"variant": variant.name or AS_CONFIGURED, "changes": variant.changes}
    row |= {name: cells[name].iloc[0] for name in SIZES}
    for column, (_, against) in COLUMNS.items():
        for part, end in ENDS.items():
            if against or part != "p_adjusted":
                row[f"{column}{end}"] = by_column.loc[column, part]
    told = cells[cells["note"] != ""].groupby("note", sort=False)["column"]
    notes = [
        f"{note}" if len(columns) == len(cells) else f"{' and '.join(columns)}: {note}"
        for note, columns in told
    ]
    return row | {"note": "; ".join(notes)}


def variants_latex(table: pd.DataFrame) -> str:
    """The table for print."""
    rows = [
        (
            escape(row["variant"].replace("_", " ")),
            escape(row["changes"]),
            runs_cell(row["n_runs"], row["n_missing_runs"]),
            *(
                interval_cell(
                    row[column], row[f"{column}_low"], row[f"{column}_high"], measure == "gain"
                )
                for column, (measure, _) in COLUMNS.items()
            ),
            p_value_cell(row["difference_p_adjusted"]),
        )
        for _, row in table.iterrows()
    ]
    missing = dict(zip(table["variant"], table["missing_runs"], strict=True))
    return booktabs(HEADER, rows, "llrllllr", worth(table["note"], missing))
