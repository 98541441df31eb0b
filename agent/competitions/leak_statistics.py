"""How well a guess reproduces the answers, and whether chance could do as well."""

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from agent.competitions.leak_tables import FEWEST_ROWS, labels

# scipy is imported where it tests: scripts that only name this module need not spend the second.

Kind = Literal["binary", "classes", "numeric", "text", "constant"]
MAX_ORDINAL = 20  # whole numbers of more distinct values are amounts, not classes
MAX_CLASSES = 50  # texts of more distinct values are looked up whole
BINS = 50  # of a number whose categories are learnt
CHANCE = 1e-3  # a finding's chance among all the tests of its check, after Bonferroni
MISSING = {"", "n/a", "na", "nan", "none", "null", "unknown", "?", "-"}


@dataclass(frozen=True, slots=True)
class Target:
    """Answers: `values` for kinds with an order (binary: 0 and 1), else NaN; all have `labels`."""

    name: str
    kind: Kind
    labels: np.ndarray
    values: np.ndarray

    def at(self, rows: np.ndarray) -> "Target":
        return Target(self.name, self.kind, self.labels[rows], self.values[rows])


@dataclass(frozen=True, slots=True)
class Guess:
    """One view of a column as a prediction: `values` in any scale, or `labels`; one is None."""

    view: str
    values: np.ndarray | None = None
    labels: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Strength:
    """A measure in [0, 1], and the chance `p` of one as high in a guess that knows nothing."""

    view: str
    measure: str
    value: float
    p: float
    support: int = 0  # rows that show it; for AUC twice the rows of the rarer class


def make_target(name: str, column: pd.Series, like: Target | None = None) -> Target:
    """The answers of one column; `like` gives train's targets the kind of the answers'."""
    text = labels(column).to_numpy(dtype=object)
    numbers = pd.to_numeric(pd.Series(text), errors="coerce").to_numpy(dtype=float)
    kind = _kind(text, numbers) if like is None else like.kind
    if kind == "binary":
        classes = sorted(set(text)) if like is None else sorted(set(like.labels))
        numbers = (text == classes[-1]).astype(float)
    return Target(name, kind, text, numbers)


def _kind(text: np.ndarray, numbers: np.ndarray) -> Kind:
    distinct = len(set(text))
    if distinct <= 2:
        return "binary" if distinct == 2 else "constant"
    if np.isfinite(numbers).all():
        whole = (numbers == np.round(numbers)).all()
        return "classes" if whole and distinct <= MAX_ORDINAL else "numeric"
    return "classes" if distinct <= MAX_CLASSES else "text"


def as_numbers(column: pd.Series) -> np.ndarray | None:
    """The column as numbers when at least 9 of 10 present values are, else None."""
    if column.dtype.kind in "biuf":
        numbers = column.to_numpy(dtype=float, na_value=np.nan)
        return np.where(np.isfinite(numbers), numbers, np.nan)
    text = labels(column)
    present = ~is_missing(column)
    numbers = pd.to_numeric(text, errors="coerce").to_numpy(dtype=float)
    numbers = np.where(np.isfinite(numbers), numbers, np.nan)
    if not present.any() or np.isfinite(numbers[present]).mean() < 0.9:
        return None
    return numbers


def is_missing(column: pd.Series) -> np.ndarray:
    """Empty, or a word for it, as the "N/A" of a JSON file."""
    if column.dtype.kind in "biuf":
        return column.isna().to_numpy()
    return labels(column).str.lower().isin(MISSING).to_numpy()


def normal_text(column: pd.Series) -> pd.Series:
    """Lower-case words without punctuation."""
    return labels(column).str.lower().str.replace(r"\W+", " ", regex=True).str.strip()


def views(column: pd.Series) -> list[Guess]:
    """What can be read off a column without any training rows."""
    guesses = []
    missing = is_missing(column)
    if missing.any() and not missing.all():
        guesses.append(Guess("missingness", missing.astype(float)))
    numbers = as_numbers(column)
    if numbers is not None:
        return [*guesses, Guess("values", numbers)]
    text = labels(column)
    ranks = pd.Series(np.unique(text.to_numpy(dtype=str), return_inverse=True)[1])
    lengths = text.str.len().to_numpy(dtype=float)
    return [*guesses, Guess("alphabetical rank", ranks.to_numpy(float)), Guess("length", lengths)]


def learnt(view: str, known: pd.Series, targets: Target, asked: pd.Series) -> Guess:
    """Target-encode the categories (for numbers: quantile bins) of `known` rows, for `asked`."""
    left, right = _categories(known, asked)
    if targets.kind in ("binary", "numeric"):
        means = pd.Series(targets.values).groupby(left).mean()
        fallback = float(np.nanmean(targets.values))
        return Guess(view, pd.Series(right).map(means).fillna(fallback).to_numpy(dtype=float))
    pairs = pd.DataFrame({"category": left, "label": targets.labels})
    counts = pairs.value_counts().reset_index()
    counts = counts.sort_values(["category", "count", "label"], ascending=[True, False, True])
    best = counts.drop_duplicates("category").set_index("category")["label"]
    common = pairs["label"].mode()[0]
    return Guess(view, labels=pd.Series(right).map(best).fillna(common).to_numpy(dtype=object))


def learnt_from_halves(view: str, column: pd.Series, answers: Target) -> tuple[Guess, np.ndarray]:
    """The same where no training rows are known: a seeded half of the answers tells the other."""
    order = np.random.default_rng(0).permutation(len(column))
    known, asked = np.sort(order[::2]), np.sort(order[1::2])
    guess = learnt(view, column.iloc[known], answers.at(known), column.iloc[asked])
    return guess, asked


def _categories(known: pd.Series, asked: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    numbers, wanted = as_numbers(known), as_numbers(asked)
    bins = min(BINS, max(2, len(known) // 10))
    if numbers is None or wanted is None or len(np.unique(numbers[~np.isnan(numbers)])) <= bins:
        return normal_text(known).to_numpy(dtype=object), normal_text(asked).to_numpy(dtype=object)
    edges = np.unique(np.nanquantile(numbers, np.linspace(0, 1, bins + 1)[1:-1]))
    sides = [
        np.where(np.isnan(side), -1, np.searchsorted(edges, side)) for side in (numbers, wanted)
    ]
    return sides[0], sides[1]


def strengths(answers: Target, guess: Guess) -> list[Strength]:
    """Every measure that fits the kind of answers; none where too few rows could show it."""
    if guess.labels is not None:
        return [] if len(guess.labels) < FEWEST_ROWS else [_skill(answers, guess)]
    assert guess.values is not None
    rows = np.isfinite(guess.values) & np.isfinite(answers.values)
    values, truth = guess.values[rows], answers.values[rows]
    if len(values) < FEWEST_ROWS or len(set(values)) < 2 or len(set(truth)) < 2:
        return []
    if answers.kind == "binary":
        return [_auc(truth, values, guess.view)]
    return _correlations(truth, values, guess.view)


def _auc(truth: np.ndarray, values: np.ndarray, view: str) -> Strength:
    """Area under the ROC curve, either way round; chance from Mann and Whitney's U.

    The normal tail is never taken below that of a perfect order, which has few rows to be one of.
    """
    from scipy.stats import rankdata

    ones = int(truth.sum())
    zeros = len(truth) - ones
    area = (rankdata(values)[truth == 1].sum() - ones * (ones + 1) / 2) / (ones * zeros)
    deviation = math.sqrt((ones + zeros + 1) / (12 * ones * zeros))
    p = max(math.erfc(abs(area - 0.5) / deviation / math.sqrt(2)), 2 * one_of(len(truth), ones))
    return Strength(view, "AUC", max(area, 1 - area), min(p, 1.0), 2 * min(ones, zeros))


def one_of(rows: int, chosen: int) -> float:
    """The chance of one choice of `chosen` among `rows`."""
    ways = math.lgamma(rows + 1) - math.lgamma(chosen + 1) - math.lgamma(rows - chosen + 1)
    return math.exp(-ways)


def _correlations(truth: np.ndarray, values: np.ndarray, view: str) -> list[Strength]:
    """Spearman's; where that is high, also R² of a straight line, plain and of logarithms."""
    from scipy.stats import rankdata, t

    rho = abs(float(np.corrcoef(rankdata(truth), rankdata(values))[0, 1]))
    free = len(truth) - 2
    score = rho * math.sqrt(free / max(1 - rho * rho, 1e-12))
    p = max(float(2 * t.sf(score, free)), 2 * math.exp(-math.lgamma(len(truth) + 1)))
    found = [Strength(view, "rank correlation", min(rho, 1.0), p, len(truth))]
    if rho > 0.99:  # ranks first: one outlier on both sides makes any R² high
        lines = [np.corrcoef(truth, values)[0, 1] ** 2]
        if min(truth.min(), values.min()) > 0:
            lines.append(np.corrcoef(np.log(truth), np.log(values))[0, 1] ** 2)
        found.append(Strength(view, "R2", float(min(max(lines), 1.0)), p, len(truth)))
    return found


def _skill(answers: Target, guess: Guess) -> Strength:
    """Share of hits above what guesses and answers of these frequencies share by chance."""
    from scipy.stats import binom

    assert guess.labels is not None
    hits = int((guess.labels == answers.labels).sum())
    rows = len(answers.labels)
    guessed = pd.Series(guess.labels).value_counts(normalize=True)
    given = pd.Series(answers.labels).value_counts(normalize=True)
    chance = float(guessed.mul(given, fill_value=0.0).sum())
    skill = 0.0 if chance >= 1 else max(0.0, (hits / rows - chance) / (1 - chance))
    p = float(binom.sf(hits - 1, rows, chance))
    return Strength(guess.view, "hits above chance", skill, p, rows)


def pure_group(answers: Target, group: np.ndarray) -> tuple[float, float]:
    """Share of rows in `group`, and the chance that it has one class only; 1 when it has not."""
    inside = answers.labels[group]
    if len(inside) < FEWEST_ROWS or len(set(inside)) != 1:
        return float(group.mean()), 1.0
    same = int((answers.labels == inside[0]).sum())
    p = one_of(len(group), len(inside)) / one_of(same, len(inside))
    return float(group.mean()), min(p, 1.0)


def follows_rows(train: Target) -> float:
    """Rank correlation of each training target with the next one: near 1 in a time series."""
    if train.kind != "numeric" or len(train.values) < FEWEST_ROWS:
        return 0.0
    guess = Guess("next row", train.values[1:])
    found = strengths(train.at(np.arange(len(train.values) - 1)), guess)
    return found[0].value if found else 0.0


def trailing_number(ids: pd.Series) -> np.ndarray | None:
    """The last number in each id; None for hashes and for ids without one."""
    text = labels(ids)
    if text.str.fullmatch(r"[0-9a-fA-F-]{16,}").all() and text.str.contains("[a-fA-F]").any():
        return None
    found = text.str.extract(re.compile(r"(\d{1,15})\D*$"), expand=False)
    numbers = pd.to_numeric(found, errors="coerce").to_numpy(dtype=float)
    return numbers if np.isfinite(numbers).mean() >= 0.9 else None
