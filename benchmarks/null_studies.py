"""Null studies, in which training was worth nothing: how often an improvement is claimed.

In `false_claim` both policies are the same and runs of both differ, in `false_claim_steady_base`
runs of the base differ by sampling alone; an interval of the gain above 0 is a claim. In
`false_claim_declared` the base is steady, too, and a claim is what the headline calls an
improvement that is shown: after Holm's correction, with the yardsticks beside the two policies.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import trim_mean

from agent.evaluation.clustered import clustered_estimate
from agent.evaluation.headline import GROUP, shows_improvement
from agent.evaluation.multiplicity import adjust
from agent.evaluation.quantities import Comparison, Quantity
from agent.evaluation.statistics import Array, ScoreMatrix, difference, iqm
from benchmarks.simulated_studies import (
    NO_EFFECT,
    RESAMPLES,
    SETTINGS,
    TRAINED,
    Setting,
    matrix,
    scores,
)

NULL_STUDIES = 400
NULLS = ("false_claim", "false_claim_steady_base", "false_claim_declared")
# About what the embedded study's other policies reach, here the same on every competition.
YARDSTICKS = {
    "base_best_of_n": 0.57,
    "best_fixed_program": 0.67,
    "dummy": 0.08,
    "fixed_portfolio": 0.75,
    "random_program": 0.48,
}


@cache
def levels_without_gain(setting: Setting, runs: int = 20_000) -> Array:
    """Levels at which a base whose runs are alike has the IQM of trained policies that differ."""
    trained = trim_mean(scores(TRAINED, setting, runs, np.random.default_rng(0)), 0.25, None)

    def gain(shift: float) -> float:
        shifted = scores(expit(logit(TRAINED) + shift), NO_EFFECT, runs, np.random.default_rng(1))
        return float(trained - trim_mean(shifted, 0.25, None))

    return np.asarray(expit(logit(TRAINED) + brentq(gain, -1, 1, xtol=1e-4)))


def null_study(
    null: str, setting: Setting, runs: int, rng: np.random.Generator
) -> list[ScoreMatrix]:
    """Trained and base policy of a study in which training was worth nothing."""
    same = null == "false_claim"
    base = (TRAINED, setting) if same else (levels_without_gain(setting), NO_EFFECT)
    return [matrix(scores(*policy, runs, rng)) for policy in ((TRAINED, setting), base)]


def corrected_gain(study: Sequence[ScoreMatrix]) -> pd.Series:
    """The row of the gain over the base by which the headline declares an improvement.

    It is corrected for the gains over the yardsticks. Of the table of measures, which takes many
    times as long, only the rows of this family are made.
    """
    trained, *others = (*study, *yardsticks())
    comparison = Comparison(pd.DataFrame(), RESAMPLES, seed=0)
    rows = [
        row
        for name, other in zip(("base", *YARDSTICKS), others, strict=True)
        for row in comparison.rows(
            Quantity("gain", GROUP, "trained", name, "iqm"),
            difference(iqm),
            trained,
            other,
            schemes=(),
        )
    ]
    return adjust(pd.DataFrame(rows)).iloc[0]


def yardsticks() -> list[ScoreMatrix]:
    return [matrix(np.full((1, len(TRAINED)), level)) for level in YARDSTICKS.values()]


def claims_improvement(null: str, setting: Setting, runs: int, rng: np.random.Generator) -> bool:
    """One null study: whether it says that training was worth something."""
    study = null_study(null, setting, runs, rng)
    if null == "false_claim_declared":
        return shows_improvement(corrected_gain(study))
    return bool(clustered_estimate(difference(iqm), study, RESAMPLES, rng).low > 0)


def false_claims(null: str, setting: Setting, runs: int, studies: int) -> float:
    """Share of the null studies of a kind that claim an improvement."""
    rng = np.random.default_rng([runs, SETTINGS.index(setting), 1 + NULLS.index(null)])
    return float(np.mean([claims_improvement(null, setting, runs, rng) for _ in range(studies)]))
