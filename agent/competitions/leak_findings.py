"""What a leak audit reports, and where a measure becomes a finding."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from agent.competitions.leak_statistics import CHANCE, Strength

Severity = Literal["critical", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One leak: `value` is the measure that the explanation names, in [0, 1]."""

    check: str
    severity: Severity
    subject: str  # "file:column", a file, or what the check looks at
    value: float
    explanation: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check found, and in a sentence each what it could not look at."""

    findings: list[Finding] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Limits:
    """The least value of each measure for a warning and for a critical finding."""

    warning: Mapping[str, float]
    critical: Mapping[str, float]
    support: int = 0  # evidence that a critical finding needs; with less it is a warning


# Of 30 rows, a guess that is right in 9 of 10 has every one right in less than 5 % of cases.
SUPPORT = 30
# A column may be a good predictor; these are beyond what honest ones reach. R2 tells a copy, at
# most rescaled, from a series' latest value: the rest is below 0.3 % of the answers' deviation.
COLUMN_LIMITS = Limits(
    warning={"AUC": 0.98, "rank correlation": 0.99, "hits above chance": 0.95},
    critical={"AUC": 0.998, "rank correlation": 0.999, "hits above chance": 0.99, "R2": 0.99999},
    support=SUPPORT,
)
# The order of rows, ids and times of files should tell nothing at all. Numbers may have a trend in
# time, so that only rows sorted by them are critical.
ORDER_LIMITS = Limits(
    warning={"AUC": 0.6, "rank correlation": 0.2, "hits above chance": 0.1},
    critical={"AUC": 0.9, "rank correlation": 0.999, "hits above chance": 0.8},
)
# What a file shows decides its size in part, as a dark picture's.
SIZE_LIMITS = Limits(
    warning={"AUC": 0.9, "rank correlation": 0.9, "hits above chance": 0.8},
    critical={"AUC": 0.998, "rank correlation": 0.999, "hits above chance": 0.99},
    support=SUPPORT,
)
SMOOTH = 0.9  # of train's targets with the next row's: from here on the rows are a series
SMOOTHLY = "; train's targets follow its rows as closely as a series does, which may explain it"


@dataclass(frozen=True, slots=True)
class Measured:
    """A strength, of which subject and for which column of the answers."""

    subject: str
    target: str
    strength: Strength
    smooth: float = 0.0  # how closely train's targets follow its rows, `follows_rows`


def judge(
    check: str, measured: list[Measured], limits: Limits, remark: str, tests: int | None = None
) -> list[Finding]:
    """The worst finding of each subject that passes a limit and that chance cannot explain.

    Chance is Bonferroni-corrected by `tests`, which is every measurement unless said otherwise. In
    a smooth series, only a copy is critical: a lag or the place of a row predicts it lawfully.
    """
    tests = len(measured) if tests is None else tests
    worst: dict[str, Finding] = {}
    for one in measured:
        finding = _judged(check, one, limits, tests, remark)
        if finding is not None:
            before = worst.get(one.subject)
            if before is None or _rank(finding) < _rank(before):
                worst[one.subject] = finding
    return list(worst.values())


def _judged(check: str, one: Measured, limits: Limits, tests: int, remark: str) -> Finding | None:
    found = one.strength
    if found.p * tests >= CHANCE or found.value < min(
        limits.warning.get(found.measure, 2.0), limits.critical.get(found.measure, 2.0)
    ):
        return None
    worst = found.value >= limits.critical.get(found.measure, 2.0)
    grade = 0 if worst and found.support >= limits.support else 1
    series = one.smooth >= SMOOTH and found.measure != "R2"
    return Finding(
        check,
        SEVERITIES[grade + series],
        one.subject,
        round(found.value, 6),
        f"{found.view} against the answers' {one.target!r}: {found.measure} {found.value:.4f}"
        + SMOOTHLY * series
        + remark,
    )


def _rank(finding: Finding) -> tuple[int, float, str]:
    return SEVERITIES.index(finding.severity), -finding.value, finding.explanation
