"""What a study's variants are worth: one row for each, the study as it is configured first.

Scores are IQMs on the held-out competitions; `gain` is over the variant's own base model,
`difference` and `probability_of_improvement` are against the study's trained policy. `low` and
`high` bound 95 % intervals for new runs on the same competitions (`clustered_estimate`); they are
each for itself, not corrected for the number of variants.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from agent.evaluation.clustered import clustered_estimate
from agent.evaluation.headline import GROUP
from agent.evaluation.interval_worth import runs_note
from agent.evaluation.scores import score_matrix
from agent.evaluation.statistics import (
    Measure,
    ScoreMatrix,
    difference,
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
        rows.append(row | {"note": runs_note(runs, "clustered")})
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
    share = name == "probability_of_improvement"
    found = clustered_estimate(measure, matrices, resamples, rng, of_share=share)
    return dict(zip(keys, map(float, (found.value, found.low, found.high)), strict=True))


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
