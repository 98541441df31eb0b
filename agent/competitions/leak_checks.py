"""Checks of a leak audit that compare public columns, orders and rows with the answers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from agent.competitions.leak_findings import (
    COLUMN_LIMITS,
    ORDER_LIMITS,
    SIZE_LIMITS,
    Finding,
    Limits,
    Measured,
    Outcome,
    judge,
)
from agent.competitions.leak_statistics import (
    CHANCE,
    FEWEST_ROWS,
    Guess,
    Strength,
    Target,
    follows_rows,
    is_missing,
    learnt,
    learnt_from_halves,
    make_target,
    pure_group,
    strengths,
    trailing_number,
    views,
)
from agent.competitions.leak_tables import Aligned, Opened, labels

MAX_COLUMNS = 2000  # of all tables together; wider data is cut, and says so
MAX_TARGETS = 10
NO_TEST = "no public table has the answers' ids, so nothing can be compared"


def targets_of(opened: Opened, index: pd.Index) -> Iterator[tuple[Target, Target | None]]:
    """The answers of the rows in `index`, with the targets of train if it has that column."""
    for name in opened.targets[:MAX_TARGETS]:
        answers = make_target(name, opened.answers.loc[index, name])
        known = None
        if opened.train is not None and name in opened.train:
            known = make_target(name, opened.train[name], like=answers)
        if answers.kind != "constant":
            yield answers, known


def check_columns(opened: Opened) -> Outcome:
    """One public column that gives the answers almost perfectly, alone or learnt on train."""
    columns = [
        (table, str(column))
        for table in opened.aligned
        if table.name != opened.train_name
        for column in table.rows.columns
        if column != table.id_column and str(column) not in opened.targets
    ]
    if not columns:
        return Outcome(not_run=[NO_TEST])
    measured = [one for place in columns[:MAX_COLUMNS] for one in _measure_column(opened, *place)]
    groups = [one for one in measured if one.strength.measure == "certain rows"]
    others = [one for one in measured if one.strength.measure != "certain rows"]
    findings = judge("columns", others, COLUMN_LIMITS, opened.sampled, len(measured))
    named = {finding.subject for finding in findings if finding.severity == "critical"}
    pure = _certain([one for one in groups if one.subject not in named], len(measured), opened)
    certain = {finding.subject for finding in pure}
    findings = [finding for finding in findings if finding.subject not in certain] + pure
    left_out = len(columns) - MAX_COLUMNS
    return Outcome(findings, [f"{left_out} columns beyond {MAX_COLUMNS}"] if left_out > 0 else [])


def _certain(groups: list[Measured], tests: int, opened: Opened) -> list[Finding]:
    """Rows whose answer is certain by a column's being missing or not, as pizza's givers."""
    found = {}
    for one in sorted(groups, key=lambda one: one.strength.value):
        if one.strength.p * tests < CHANCE:
            share = one.strength.value
            found[one.subject] = Finding(
                "columns",
                "critical",
                one.subject,
                round(share, 6),
                f"{one.strength.view} makes the answers' {one.target!r} certain for {share:.1%} "
                f"of the rows{opened.sampled}",
            )
    return list(found.values())


def _measure_column(opened: Opened, table: Aligned, column: str) -> list[Measured]:
    asked = table.rows[column]
    subject = f"{table.name}:{column}"
    missing = is_missing(asked)
    measured = []
    for answers, known in targets_of(opened, table.rows.index):
        smooth = 0.0 if known is None else follows_rows(known)
        found = [one for guess in views(asked) for one in strengths(answers, guess)]
        if known is not None and opened.train is not None and column in opened.train:
            guess = learnt("categories learnt on train", opened.train[column], known, asked)
            found += strengths(answers, guess)
        guess, rows = learnt_from_halves("categories learnt on half of the test", asked, answers)
        found += strengths(answers.at(rows), guess)
        if answers.kind in ("binary", "classes") and missing.any() and not missing.all():
            for view, group in (("being missing", missing), ("being present", ~missing)):
                found.append(Strength(view, "certain rows", *pure_group(answers, group)))
        measured += [Measured(subject, answers.name, one, smooth) for one in found]
    return measured


def check_row_order(opened: Opened) -> Outcome:
    """Answers that follow the order of the test's rows."""
    if opened.test is None:
        return Outcome(not_run=[NO_TEST])
    places = pd.Series(opened.test.positions, index=opened.test.rows.index)
    measured = _measure_order(opened, places, f"{opened.test.name}: order of rows", "place")
    return Outcome(judge("row_order", measured, ORDER_LIMITS, opened.sampled))


def _measure_order(opened: Opened, place: pd.Series, subject: str, view: str) -> list[Measured]:
    """A number that should tell nothing: its order, and its ranges learnt on half of the rows."""
    measured = []
    for answers, known in targets_of(opened, place.index):
        smooth = 0.0 if known is None else follows_rows(known)
        guess, rows = learnt_from_halves(f"range of {view}", place, answers)
        found = strengths(answers, Guess(view, place.to_numpy(dtype=float)))
        found += strengths(answers.at(rows), guess)
        measured += [Measured(subject, answers.name, one, smooth) for one in found]
    return measured


def check_ids(opened: Opened) -> Outcome:
    """Ids that tell the answers: by number, last digit, prefix, length or a neighbour in train."""
    if opened.test is None or opened.test.id_column is None:
        return Outcome(not_run=["the test has no column of ids"])
    ids = opened.test.rows[opened.test.id_column]
    subject = f"{opened.test.name}:{opened.test.id_column}"
    numbers = trailing_number(ids)
    measured: list[Measured] = []
    if numbers is not None:
        order = np.argsort(opened.test.positions)
        if not (np.diff(numbers[order]) > 0).all():  # else it is the order of rows, told there
            measured += _measure_part(opened, labels(ids).str.len(), subject, "length")
            usable = pd.Series(numbers, index=ids.index).dropna()
            measured += _measure_order(opened, usable, subject, "number")
        measured += _measure_neighbours(opened, numbers, subject)
    text = labels(ids)
    for view, part in (
        ("last character", text.str[-1]),
        ("prefix", text.str.extract(r"^(\D*)")[0]),
    ):
        measured += _measure_part(opened, part, subject, view)
    if numbers is None:
        measured += _measure_part(opened, text.str.len(), subject, "length")
    return Outcome(judge("ids", measured, ORDER_LIMITS, opened.sampled))


def _measure_part(opened: Opened, part: pd.Series, subject: str, view: str) -> list[Measured]:
    measured = []
    if part.nunique() > 1:
        for answers, _ in targets_of(opened, part.index):
            guess, rows = learnt_from_halves(view, part, answers)
            found = strengths(answers.at(rows), guess)
            measured += [Measured(subject, answers.name, one) for one in found]
    return measured


def _measure_neighbours(opened: Opened, numbers: np.ndarray, subject: str) -> list[Measured]:
    """Guess the target of the rows of train with the next lower and the next higher id."""
    assert opened.test is not None and opened.test.id_column is not None
    train, column = opened.train, opened.test.id_column
    if train is None or column not in train or not np.isfinite(numbers).all():
        return []
    known_ids = trailing_number(train[column])
    if known_ids is None or not np.isfinite(known_ids).all():
        return []
    order = np.argsort(known_ids, kind="stable")
    above = np.searchsorted(known_ids[order], numbers)
    pair = [order[np.clip(side, 0, len(order) - 1)] for side in (above - 1, above)]
    measured = []
    for answers, known in targets_of(opened, opened.test.rows.index):
        if known is not None:
            view = "the targets of neighbouring ids of train"
            guess = (
                Guess(view, (known.values[pair[0]] + known.values[pair[1]]) / 2)
                if known.kind in ("binary", "numeric")
                else Guess(view, labels=known.labels[pair[0]])
            )
            found = strengths(answers, guess)
            measured += [Measured(subject, answers.name, one, follows_rows(known)) for one in found]
    return measured


def check_file_sizes(opened: Opened) -> Outcome:
    """Sizes of public files named by id."""
    return _check_files(opened, "file_sizes", SIZE_LIMITS)


def check_file_times(opened: Opened) -> Outcome:
    """Modification times of public files named by id; only their order counts."""
    return _check_files(opened, "file_times", ORDER_LIMITS)


def _check_files(opened: Opened, check: str, limits: Limits) -> Outcome:
    files = files_by_id(opened)
    if len(files) < FEWEST_ROWS:
        return Outcome(not_run=["no public files are named by the answers' ids"])
    facts = [path.stat() for path in files]
    numbers = [fact.st_size if check == "file_sizes" else fact.st_mtime_ns for fact in facts]
    ranks = np.unique(numbers, return_inverse=True)[1]
    place = pd.Series(ranks, index=files.index)
    view = "size" if check == "file_sizes" else "time"
    measured = _measure_order(opened, place, "files named by id", view)
    return Outcome(judge(check, measured, limits, opened.sampled))


def files_by_id(opened: Opened) -> "pd.Series[Path]":  # type: ignore[type-var]
    """Public files whose name without suffix is an id of the answers, by the answers' rows."""
    paths = sorted(path for path in opened.public.rglob("*") if path.is_file())
    by_stem = {path.stem: path for path in reversed(paths)}
    found = labels(opened.answers[opened.id_column]).map(by_stem)
    return found[found.notna()]
