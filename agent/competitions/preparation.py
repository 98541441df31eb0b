"""From a suite entry to the tables of a competition: split, damage, number the rows."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from agent.competitions.conditions import CONDITIONS, Rows
from agent.competitions.halves import split_halves
from agent.competitions.problem import Problem
from agent.competitions.problems import load_problem
from agent.competitions.suite import Entry

TEST_ROWS = 500  # at most
FLOAT_FORMAT = "%.10g"


@dataclass(frozen=True, slots=True)
class Tables:
    """`train` is id, features, target; `test` is id, features; answers are id, target.

    The two halves of the answers are disjoint and together hold every test row.
    """

    problem: Problem
    train: pd.DataFrame
    test: pd.DataFrame
    feedback: pd.DataFrame
    final: pd.DataFrame


def generator(*purpose: str) -> np.random.Generator:
    """A generator that depends on names alone, so competitions never shift each other."""
    digest = hashlib.sha256("/".join(purpose).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def assemble(entry: Entry) -> Tables:
    """Build one competition's tables; the same entry gives the same tables everywhere."""
    problem = load_problem(entry.problem)
    train, test = split_rows(problem, generator(entry.name, "split"))
    is_final = split_halves(problem, test, generator(entry.name, "halves"))
    rows = Rows(
        train=problem.features.iloc[train].reset_index(drop=True),
        train_target=problem.target[train],
        test=problem.features.iloc[test].reset_index(drop=True),
        test_target=problem.target[test],
    )
    rows = CONDITIONS[entry.condition].apply(rows, generator(entry.name, "condition"))
    first_test = len(rows.train)
    train_table, test_table = rows.train.copy(), rows.test.copy()
    train_table.insert(0, "id", np.arange(first_test))
    train_table["target"] = rows.train_target
    test_table.insert(0, "id", np.arange(first_test, first_test + len(rows.test)))
    answers = pd.DataFrame({"id": test_table["id"], "target": rows.test_target})
    _check_classes(entry.name, problem.classes, train_table, answers[~is_final], answers[is_final])
    return Tables(
        problem=problem,
        train=train_table,
        test=test_table,
        feedback=answers[~is_final].reset_index(drop=True),
        final=answers[is_final].reset_index(drop=True),
    )


def split_rows(problem: Problem, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of train and test: no group on both sides, held-back rows only in the test."""
    rows = len(problem.target)
    groups = np.arange(rows) if problem.groups is None else problem.groups
    order = np.arange(rows) if problem.ordered else _shuffle_groups(groups, rng)
    if problem.held_back is None:
        starts = np.flatnonzero(np.diff(groups[order], prepend=-1))  # of groups, in `order`
        split_at = starts[starts <= problem.train_rows].max()
        train, test = order[:split_at], order[split_at:]
    else:
        held_back = problem.held_back[order]
        train, test = order[~held_back], order[held_back]
    return train[: problem.train_rows], test[:TEST_ROWS]


def _shuffle_groups(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Row numbers with whole groups in random order, rows of a group in their own order."""
    members, which = np.unique(groups, return_inverse=True)
    return np.argsort(rng.permutation(len(members))[which], kind="stable")


def _check_classes(name: str, classes: int, *tables: pd.DataFrame) -> None:
    """Metrics read the classes off the answers, so no half may lack one."""
    for table in tables:
        if classes and set(table["target"]) != set(range(classes)):
            raise ValueError(f"{name}: a split lacks a class; give problems.py more rows for it")
