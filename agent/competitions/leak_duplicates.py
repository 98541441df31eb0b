"""The check of a leak audit for test rows that are, nearly, rows of train."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from agent.competitions.leak_checks import NO_TEST, targets_of
from agent.competitions.leak_findings import Finding, Outcome, Severity
from agent.competitions.leak_statistics import (
    CHANCE,
    FEWEST_ROWS,
    Target,
    as_numbers,
    learnt,
    normal_text,
)
from agent.competitions.leak_tables import Aligned, Opened

EXACT_DIGITS, NEAR_DIGITS = 10, 3  # significant digits of numbers that are compared
NEAR_COLUMNS = 3  # fewer rounded columns agree by chance
LONG_TEXT = 40  # characters on average, from where on a text alone identifies a row
LEAST_SHARE, LARGE_SHARE = 0.01, 0.1  # of test rows found in train: for any finding, for a critical
DISTINCT = 0.9  # of train's rows; where fewer differ, equal rows are no duplicates
CRITICAL_SKILL = 0.8  # share of what is left above the base rate
TOLERANCE = 0.01  # of the answers' deviation, within which a looked-up number is right


def check_duplicates(opened: Opened) -> Outcome:
    """Test rows whose answer can be looked up among equal or nearly equal rows of train."""
    if opened.test is None:
        return Outcome(not_run=[NO_TEST])
    if opened.train is None:
        return Outcome(not_run=["no public table of training rows has the answers' columns"])
    shared = _shared_columns(opened, opened.test, opened.train)
    if not shared:
        return Outcome(not_run=["train and test share no columns besides ids"])
    findings: list[Finding | None] = []
    before = 0
    for subject, columns, digits in _ways(opened.train, opened.test, shared):
        left = _keys(opened.train, columns, digits)
        right = _keys(opened.test.rows, columns, digits)
        found = right.isin(left).to_numpy()
        nothing_new = digits == NEAR_DIGITS and found.sum() == before
        before = found.sum()
        if found.sum() >= FEWEST_ROWS and found.mean() >= LEAST_SHARE and not nothing_new:
            findings.append(_judge(opened, f"{opened.test.name}: {subject}", left, right, found))
    return Outcome([finding for finding in findings if finding is not None])


def _shared_columns(opened: Opened, test: Aligned, train: pd.DataFrame) -> list[str]:
    kept = [c for c in test.rows.columns if c in train and c not in opened.targets]
    return [str(c) for c in kept if c != test.id_column and test.rows[c].notna().any()]


def _ways(
    train: pd.DataFrame, test: Aligned, shared: list[str]
) -> Iterator[tuple[str, list[str], int]]:
    """Which columns to compare, and to how many digits."""
    yield "equal rows", shared, EXACT_DIGITS
    if len(shared) >= NEAR_COLUMNS:
        yield "nearly equal rows", shared, NEAR_DIGITS
    for column in shared:
        if as_numbers(train[column]) is None and len(shared) > 1:
            length = normal_text(test.rows[column]).str.len().mean()
            if length >= LONG_TEXT:
                yield f"equal words of {column!r}", [column], NEAR_DIGITS


def _keys(table: pd.DataFrame, columns: list[str], digits: int) -> pd.Series:
    """One hash a row: numbers rounded to significant digits, texts by their words."""
    parts = {}
    for column in columns:
        numbers = as_numbers(table[column])
        if numbers is None or table[column].dtype.kind not in "biuf":
            parts[column] = normal_text(table[column]).to_numpy(dtype=object)
        else:
            parts[column] = np.array([f"{number:.{digits}g}" for number in numbers], dtype=object)
    hashed = pd.util.hash_pandas_object(pd.DataFrame(parts, index=table.index), index=False)
    return "row " + hashed.astype(str)  # a category, never a number that could be binned


def _judge(
    opened: Opened, subject: str, left: pd.Series, right: pd.Series, found: np.ndarray
) -> Finding | None:
    """What the looked-up targets are worth; the worst of several columns of answers."""
    coarse = left.nunique() < DISTINCT * len(left)
    worst: Finding | None = None
    rank = {"critical": 0, "warning": 1, "note": 2}
    for answers, known in targets_of(opened, right.index):
        if known is not None:
            rate, base, p = _lookup(answers, known, left, right, found)
            finding = Finding(
                "duplicates",
                _severity(float(found.mean()), rate, base, p, coarse),
                subject,
                round(float(found.mean()), 6),
                f"{found.mean():.1%} of the rows are in train, which gives the answers' "
                f"{answers.name!r} for {rate:.1%} of them (base rate {base:.1%})"
                + "; train's own rows repeat as well" * coarse
                + opened.sampled,
            )
            if worst is None or rank[finding.severity] < rank[worst.severity]:
                worst = finding
    return worst


def _severity(share: float, rate: float, base: float, p: float, coarse: bool) -> Severity:
    if coarse or p >= CHANCE:
        return "note"
    skill = (rate - base) / max(1 - base, 1e-12)
    return "critical" if share >= LARGE_SHARE and skill >= CRITICAL_SKILL else "warning"


def _lookup(
    answers: Target, known: Target, left: pd.Series, right: pd.Series, found: np.ndarray
) -> tuple[float, float, float]:
    """Share of found rows looked up correctly, that of the best single guess, and its chance."""
    from scipy.stats import binom

    guess = learnt("lookup", left, known, right)
    if answers.kind == "numeric":
        assert guess.values is not None
        reach = TOLERANCE * float(np.nanstd(answers.values))
        truth = answers.values[found]
        right_ones = np.abs(guess.values[found] - truth) <= reach
        ordered = np.sort(known.values[np.isfinite(known.values)])
        near = np.searchsorted(ordered, truth + reach, "right") - np.searchsorted(
            ordered, truth - reach, "left"
        )
        base = float(near.mean() / max(len(ordered), 1))
    else:
        truth = answers.labels[found]
        if guess.values is not None:
            right_ones = (guess.values[found] > 0.5) == (answers.values[found] > 0.5)
        else:
            assert guess.labels is not None
            right_ones = guess.labels[found] == truth
        base = float(pd.Series(truth).value_counts(normalize=True).iloc[0])
    hits = int(right_ones.sum())
    return hits / len(truth), base, float(binom.sf(hits - 1, len(truth), base))
