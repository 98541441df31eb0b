"""Whether a 95 % interval holds the truth in 95 % of studies: simulated studies, with known truth.

What an interval must hold is the value of its measure with infinitely many runs on the study's
competitions. For the interval over data sets each study draws new data sets, with as many
competitions as those of the embedded study have; it must hold the value with infinitely many of
them and of runs. Null studies beside them count false claims.
"""

import csv
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import product

import numpy as np
from scipy.stats import trim_mean

from agent.evaluation.clustered import clustered_estimate
from agent.evaluation.interval_worth import TABLE
from agent.evaluation.statistics import (
    Scheme,
    difference,
    estimate,
    iqm,
    mean,
    probability_of_improvement,
)
from benchmarks import coverage_figure
from benchmarks.null_studies import NULL_STUDIES, NULLS, false_claims
from benchmarks.simulated_studies import (
    BASE,
    NO_EFFECT,
    RESAMPLES,
    SETTINGS,
    TRAINED,
    Setting,
    matrix,
    new_levels,
    scores,
)

# Studies by their number of runs; percentiles, which take longest, are taken in one of four.
STUDIES = {2: 400, 3: 2000, 4: 400, 5: 2000, 10: 2000}
# Studies of new data sets by the number of these, and the runs of each.
DATA_SET_STUDIES = {2: 400, 4: 400, 7: 2000, 20: 400, 50: 400}
RUNS_ON_DATA_SETS = (1, 2, 3, 5, 10)
SIZES = (5, 2, 3, 2, 2, 2, 2)  # competitions of the embedded study's held-out data sets, as LEVELS
MEASURES = {
    "gain_iqm": difference(iqm),
    "gain_mean": difference(mean),
    "probability_of_improvement": probability_of_improvement,
}


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


def coverage(setting: Setting, runs: int, studies: int) -> dict[tuple[str, str], float]:
    """Share of the studies whose interval holds the truth, by measure and interval."""
    rng = np.random.default_rng([runs, SETTINGS.index(setting)])
    outcomes: dict[tuple[str, str], list[bool]] = {}
    for study in range(studies):
        schemes: Sequence[Scheme] = ("stratified", "runs") if study % 4 == 0 else ()
        for name, interval, is_held in held(setting, runs, schemes, rng):
            outcomes.setdefault((name, interval), []).append(is_held)
    return {key: float(np.mean(of_studies)) for key, of_studies in outcomes.items()}


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
    claims = [(null, false_claims(null, setting, runs, NULL_STUDIES)) for null in NULLS]
    return [
        *((setting.name, runs, "", *key, share) for key, share in covered),
        *((setting.name, runs, "", null, "clustered", share) for null, share in claims),
    ]


def run() -> dict[str, float]:
    """Simulate all studies, write coverage.csv and its figure, return the shares that count."""
    cells = [(setting, runs, 0) for setting in SETTINGS for runs in STUDIES]
    cells += product(SETTINGS, RUNS_ON_DATA_SETS, DATA_SET_STUDIES)
    with ProcessPoolExecutor() as pool:
        rows = [row for part in pool.map(_cell, *zip(*cells, strict=True)) for row in part]
    with TABLE.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("setting", "runs", "data_sets", "measure", "interval", "share"))
        table.writerows((*names, f"{share:.4f}") for *names, share in rows)
    coverage_figure.draw()
    clustered = [row for row in rows if row[4] == "clustered"]
    covered = [share for _, runs, _, name, _, share in clustered if name in MEASURES and runs >= 5]
    claims = max(row[5] for row in clustered if row[3] in NULLS)
    return {
        "met": 0.93 <= min(covered) <= max(covered) <= 0.97 and claims <= 0.05,
        "studies": max(STUDIES.values()),
        "lowest_coverage_from_5_runs": min(covered),
        "highest_coverage_from_5_runs": max(covered),
        "most_false_claims": claims,
        "lowest_coverage_of_7_data_sets": min(row[5] for row in rows if row[2] == 7),
        "highest_coverage_of_7_data_sets": max(row[5] for row in rows if row[2] == 7),
    }
