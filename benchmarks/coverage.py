"""Whether a 95 % interval holds the truth in 95 % of studies: simulated studies, with known truth.

A simulated study plays 18 fixed competitions, at the levels of the embedded study, five times in
each run. A run of a trained policy is better or worse as a whole and on each competition, runs of
the base differ by sampling alone, episodes are Beta-distributed or without any valid submission.
What an interval must hold is the value of its measure with infinitely many runs on these
competitions. In a null study both policies are the same: an interval above 0 is a false claim.
"""

import csv
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.stats import trim_mean

from agent.evaluation.clustered import clustered_estimate
from agent.evaluation.statistics import (
    Array,
    Scheme,
    ScoreMatrix,
    difference,
    estimate,
    iqm,
    mean,
    probability_of_improvement,
)

# Mean scores of base and trained policy on the held-out competitions of the embedded study.
LEVELS = np.array(
    [
        *((0.71, 0.85), (0.71, 0.83), (0.86, 0.92), (0.75, 0.81), (0.57, 0.79), (0.44, 0.76)),
        *((0.07, 0.58), (0.66, 0.71), (0.23, 0.36), (0.50, 0.56), (0.42, 0.56), (0.77, 0.84)),
        *((0.79, 0.79), (0.64, 0.65), (0.67, 0.86), (0.61, 0.72), (0.42, 0.28), (0.58, 0.73)),
    ]
)
BASE, TRAINED = LEVELS.T
EPISODES = 5
CONCENTRATION = 6.0  # of the Beta distribution: episodes of a run differ by about 0.18
NOTHING_VALID = 0.03
# Studies by their number of runs; percentiles, which take longest, are taken in one of four.
STUDIES = {2: 400, 3: 2000, 4: 400, 5: 2000, 10: 2000}
NULL_STUDIES, RESAMPLES = 400, 400
TABLE = Path(__file__).parents[1] / "agent/evaluation/coverage.csv"
MEASURES = {
    "gain_iqm": difference(iqm),
    "gain_mean": difference(mean),
    "probability_of_improvement": probability_of_improvement,
}


@dataclass(frozen=True, slots=True)
class Setting:
    """How much runs of the trained policy differ, as standard deviations of a score's log-odds."""

    name: str
    of_runs: float
    of_cells: float  # of a run on one competition, beyond that


# The first is what the embedded study showed (its runs differ by less than can be told from
# noise); in the second, runs differ from each other as much as training gains.
SETTINGS = (Setting("alike", 0.1, 0.25), Setting("unlike", 0.5, 0.5))
NO_EFFECT = Setting("base", 0.0, 0.0)


def scores(levels: Array, setting: Setting, runs: int, rng: np.random.Generator) -> Array:
    """Mean scores (runs, competitions) of one policy in one study."""
    shape = (runs, len(levels))
    odds = np.log(levels / (1 - levels)) + rng.normal(0, setting.of_runs, (runs, 1))
    means = 1 / (1 + np.exp(-odds - rng.normal(0, setting.of_cells, shape)))[..., None]
    valid = rng.random((*shape, EPISODES)) >= NOTHING_VALID
    best = rng.beta(means * CONCENTRATION, (1 - means) * CONCENTRATION, valid.shape)
    return (best * valid).mean(-1)


def matrix(values: Array) -> ScoreMatrix:
    names = tuple(map(str, range(values.shape[1])))
    return ScoreMatrix(values, tuple(range(len(values))), names, names)


@cache
def truth(setting: Setting, runs: int = 20_000) -> dict[str, float]:
    """The measures with so many runs that their error is small beside any interval."""
    rng = np.random.default_rng(0)
    trained, base = scores(TRAINED, setting, runs, rng), scores(BASE, NO_EFFECT, runs, rng)
    return {
        "gain_iqm": trim_mean(trained, 0.25, None) - trim_mean(base, 0.25, None),
        "gain_mean": trained.mean() - base.mean(),
        "probability_of_improvement": np.mean(
            [
                (np.searchsorted(y, x, "left") + np.searchsorted(y, x, "right")).mean() / 2 / runs
                for x, y in zip(trained.T, np.sort(base, axis=0).T, strict=True)
            ]
        ),
    }


def held(
    setting: Setting, runs: int, schemes: Sequence[Scheme], rng: np.random.Generator
) -> Iterator[tuple[str, str, bool]]:
    """One study: which intervals of which measures hold the truth."""
    study = [
        matrix(scores(*of_policy, runs, rng))
        for of_policy in ((TRAINED, setting), (BASE, NO_EFFECT))
    ]
    for name, measure in MEASURES.items():
        true = truth(setting)[name]
        share = name == "probability_of_improvement"
        found = clustered_estimate(measure, study, RESAMPLES, rng, of_share=share)
        yield name, "clustered", bool(found.low <= true <= found.high)
        for scheme in schemes:
            ends = estimate(measure, study, scheme, RESAMPLES, rng)
            yield name, scheme, bool(ends.low <= true <= ends.high)


def claims_improvement(setting: Setting, runs: int, rng: np.random.Generator) -> bool:
    """One null study: whether the gain's interval lies above 0 although the policies are equal."""
    study = [matrix(scores(TRAINED, setting, runs, rng)) for _ in range(2)]
    return bool(clustered_estimate(MEASURES["gain_iqm"], study, RESAMPLES, rng).low > 0)


def coverage(setting: Setting, runs: int, studies: int) -> dict[tuple[str, str], float]:
    """Share of the studies whose interval holds the truth, by measure and interval."""
    rng = np.random.default_rng([runs, SETTINGS.index(setting)])
    outcomes: dict[tuple[str, str], list[bool]] = {}
    for study in range(studies):
        schemes: Sequence[Scheme] = ("stratified", "runs") if study % 4 == 0 else ()
        for name, interval, is_held in held(setting, runs, schemes, rng):
            outcomes.setdefault((name, interval), []).append(is_held)
    return {key: float(np.mean(of_studies)) for key, of_studies in outcomes.items()}


def false_claims(setting: Setting, runs: int, studies: int) -> float:
    rng = np.random.default_rng([runs, SETTINGS.index(setting), 1])
    return float(np.mean([claims_improvement(setting, runs, rng) for _ in range(studies)]))


def _cell(setting: Setting, runs: int) -> list[tuple[str, int, str, str, float]]:
    """Rows of the table: of every measure and interval, and the claims of null studies."""
    covered = coverage(setting, runs, STUDIES[runs]).items()
    claims = false_claims(setting, runs, NULL_STUDIES)
    return [
        *((setting.name, runs, *key, share) for key, share in covered),
        (setting.name, runs, "false_claim", "clustered", claims),
    ]


def run() -> dict[str, float]:
    """Simulate all studies, write agent/evaluation/coverage.csv, return the shares that count."""
    cells = [(setting, runs) for setting in SETTINGS for runs in STUDIES]
    with ProcessPoolExecutor() as pool:
        rows = [row for part in pool.map(_cell, *zip(*cells, strict=True)) for row in part]
    with TABLE.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("setting", "runs", "measure", "interval", "share"))
        table.writerows((*names, f"{share:.4f}") for *names, share in rows)
    clustered = [row for row in rows if row[3] == "clustered"]
    covered = [share for _, runs, name, _, share in clustered if name in MEASURES and runs >= 5]
    return {
        "studies": max(STUDIES.values()),
        "lowest_coverage_from_5_runs": min(covered),
        "highest_coverage_from_5_runs": max(covered),
        "most_false_claims": max(row[4] for row in clustered if row[2] == "false_claim"),
    }
