"""Whether a 95 % interval holds the truth in 95 % of studies: simulated studies, with known truth.

A simulated study plays 18 fixed competitions, at the levels of the embedded study, five times in
each run. A run of a trained policy is better or worse as a whole and on each competition, runs of
the base differ by sampling alone, episodes are Beta-distributed or without any valid submission.
What an interval must hold is the value of its measure with infinitely many runs on these
competitions. In a null study both policies are the same: an interval above 0 is a false claim.

For the interval over data sets each study draws new data sets, with as many competitions as those
of the embedded study have; it must hold the value with infinitely many of them and of runs.
"""

import csv
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
from scipy.special import expit, logit
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
# Studies of new data sets by the number of these, and the runs of each.
DATA_SET_STUDIES = {2: 400, 4: 400, 7: 2000, 20: 400, 50: 400}
RUNS_ON_DATA_SETS = (1, 2, 3, 5, 10)
SIZES = (5, 2, 3, 2, 2, 2, 2)  # competitions of the embedded study's held-out data sets, as LEVELS
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


def new_levels(sizes: Sequence[int], rng: np.random.Generator) -> Array:
    """Levels (competitions, 2) of base and trained policy on new data sets of these sizes.

    Log-odds have the means and covariance of `LEVELS`; half of what differs between competitions
    is common to a data set (measured: four tenths of the base's level, six of the gain).
    """
    known = logit(LEVELS)
    covariance = np.cov(known.T) / 2
    of_sets, of_competitions = (
        rng.multivariate_normal((0, 0), covariance, size) for size in (len(sizes), sum(sizes))
    )
    return expit(known.mean(0) + np.repeat(of_sets, sizes, axis=0) + of_competitions)


def matrix(values: Array, data_sets: Sequence[str] = ()) -> ScoreMatrix:
    names = tuple(map(str, range(values.shape[1])))
    return ScoreMatrix(values, tuple(range(len(values))), names, tuple(data_sets) or names)


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


@cache
def truth_of_data_sets(setting: Setting, runs: int = 20_000) -> dict[str, float]:
    """The measures over so many runs, each on ten new competitions, that their error is small."""
    rng = np.random.default_rng(0)
    levels = new_levels([1] * 10 * runs, rng).reshape(runs, 10, 2)
    y, x = (
        np.concatenate([scores(one[:, policy], varying, 1, rng) for one in levels])
        for policy, varying in enumerate((NO_EFFECT, setting))
    )
    return {
        "gain_iqm": trim_mean(x, 0.25, None) - trim_mean(y, 0.25, None),
        "gain_mean": x.mean() - y.mean(),
        "probability_of_improvement": np.mean((x > y) + (x == y) / 2),
    }


def data_sets_coverage(
    setting: Setting, runs: int, data_sets: int, studies: int
) -> dict[str, float]:
    """Share of the studies whose interval over data sets holds the truth, by measure."""
    rng = np.random.default_rng([runs, SETTINGS.index(setting), data_sets])
    true, held_by = truth_of_data_sets(setting), dict.fromkeys(MEASURES, 0)
    sizes = np.resize(SIZES, data_sets).tolist()
    names = tuple(map(str, np.repeat(np.arange(data_sets), sizes)))
    for _ in range(studies):
        base, trained = new_levels(sizes, rng).T
        study = [
            matrix(scores(*of_policy, runs, rng), names)
            for of_policy in ((trained, setting), (base, NO_EFFECT))
        ]
        for name, measure in MEASURES.items():
            ends = estimate(measure, study, "data_sets", RESAMPLES, rng)
            held_by[name] += bool(ends.low <= true[name] <= ends.high)
    return {name: held / studies for name, held in held_by.items()}


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


Row = tuple[str, int, int | str, str, str, float]


def _cell(setting: Setting, runs: int, data_sets: int) -> list[Row]:
    """Rows of the table: of every measure and interval, and the claims of null studies.

    With 0 data sets the competitions are fixed.
    """
    if data_sets:
        shares = data_sets_coverage(setting, runs, data_sets, DATA_SET_STUDIES[data_sets])
        return [
            (setting.name, runs, data_sets, *(name, "data_sets", shares[name])) for name in shares
        ]
    covered = coverage(setting, runs, STUDIES[runs]).items()
    claims = false_claims(setting, runs, NULL_STUDIES)
    return [
        *((setting.name, runs, "", *key, share) for key, share in covered),
        (setting.name, runs, "", "false_claim", "clustered", claims),
    ]


def run() -> dict[str, float]:
    """Simulate all studies, write agent/evaluation/coverage.csv, return the shares that count."""
    cells = [(setting, runs, 0) for setting in SETTINGS for runs in STUDIES]
    cells += product(SETTINGS, RUNS_ON_DATA_SETS, DATA_SET_STUDIES)
    with ProcessPoolExecutor() as pool:
        rows = [row for part in pool.map(_cell, *zip(*cells, strict=True)) for row in part]
    with TABLE.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("setting", "runs", "data_sets", "measure", "interval", "share"))
        table.writerows((*names, f"{share:.4f}") for *names, share in rows)
    clustered = [row for row in rows if row[4] == "clustered"]
    covered = [share for _, runs, _, name, _, share in clustered if name in MEASURES and runs >= 5]
    claims = max(row[5] for row in clustered if row[3] == "false_claim")
    return {
        "met": 0.93 <= min(covered) <= max(covered) <= 0.97 and claims <= 0.05,
        "studies": max(STUDIES.values()),
        "lowest_coverage_from_5_runs": min(covered),
        "highest_coverage_from_5_runs": max(covered),
        "most_false_claims": claims,
        "lowest_coverage_of_7_data_sets": min(row[5] for row in rows if row[2] == 7),
        "highest_coverage_of_7_data_sets": max(row[5] for row in rows if row[2] == 7),
    }
