"""What a study's variants are worth: one row for each, the study as it is configured first.

Scores are IQMs on the held-out competitions; `gain` is over the variant's own base model,
`difference` and `probability_of_improvement` are against the study's trained policy. `low` and
`high` bound 95 % percentile bootstrap intervals over runs within competitions; they are each for
itself, not corrected for the number of variants.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from agent.evaluation.comparison import interval_note
from agent.evaluation.headline import GROUP
from agent.evaluation.scores import score_matrix
from agent.evaluation.statistics import (
    Measure,
    ScoreMatrix,
    difference,
    estimate,
    generator,
    iqm,
    probability_of_improvement,
)
from agent.evaluation.tables import NO_VALUE, booktabs, escape

MEASURES = ("score", "gain", "difference", "probability_of_improvement")
HEADER = (
    "Variant",
    "Changes",
    "Runs",
    r"IQM [95\,\% CI]",
    r"Gain over base [95\,\% CI]",
    r"Difference [95\,\% CI]",
    "P(improvement)",
)
AS_CONFIGURED = "as configured"


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant's scores, of its base model and of its trained policies."""

    name: str  # empty for the study as it is configured
    changes: str  # the keys it sets otherwise
    scores: pd.DataFrame


def compare_variants(variants: Sequence[Variant], resamples: int, seed: int) -> pd.DataFrame:
    """One row per variant; the first is the study that the others are compared with."""
    reference = score_matrix(variants[0].scores, "trained", GROUP)
    rows = []
    for variant in variants:
        base, trained = (score_matrix(variant.scores, name, GROUP) for name in ("base", "trained"))
        pairs: dict[str, tuple[Measure, list[ScoreMatrix]]] = {
            "score": (iqm, [trained]),
            "gain": (difference(iqm), [trained, base]),
        }
        if variant.name:
            pairs["difference"] = (difference(iqm), [trained, reference])
            pairs["probability_of_improvement"] = (
                probability_of_improvement,
                [trained, reference],
            )
        runs, competitions = trained.values.shape
        row: dict[str, Any] = {
            "variant": variant.name or AS_CONFIGURED,
            "changes": variant.changes,
            "n_runs": runs,
            "n_competitions": competitions,
        }
        for name in MEASURES:
            row |= _with_ends(name, pairs.get(name), resamples, generator(seed, variant.name, name))
        rows.append(row | {"note": interval_note(runs, "run")})
    return pd.DataFrame(rows)


def _with_ends(
    name: str,
    pair: tuple[Measure, list[ScoreMatrix]] | None,
    resamples: int,
    rng: np.random.Generator,
) -> Mapping[str, float]:
    keys = (name, f"{name}_low", f"{name}_high")
    if pair is None:
        return dict.fromkeys(keys, np.nan)
    measure, matrices = pair
    value, low, high = estimate(measure, matrices, "stratified", resamples, rng)
    ends = (low, high) if len(matrices[0].runs) > 1 else (np.nan, np.nan)
    return {key: float(number) for key, number in zip(keys, (value, *ends), strict=True)}


def variants_latex(table: pd.DataFrame) -> str:
    """The table for print."""
    rows = [
        (
            escape(row["variant"].replace("_", " ")),
            escape(row["changes"]),
            str(row["n_runs"]),
            *(_cell(row, name) for name in MEASURES),
        )
        for _, row in table.iterrows()
    ]
    return booktabs(HEADER, rows, "llrllll")


def _cell(row: pd.Series, name: str) -> str:
    form = "{:+.3f}" if name in ("gain", "difference") else "{:.3f}"
    value, low, high = (row[key] for key in (name, f"{name}_low", f"{name}_high"))
    if pd.isna(value):
        return NO_VALUE
    ends = "" if pd.isna(low) else f" [${form.format(low)}$, ${form.format(high)}$]"
    return f"${form.format(value)}${ends}"
