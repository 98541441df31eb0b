"""Checks of a leak audit for what files hold: boards, private bytes, marks, answers as they are."""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from agent.competitions.leak_checks import targets_of
from agent.competitions.leak_findings import Finding, Outcome
from agent.competitions.leak_statistics import CHANCE, FEWEST_ROWS, Guess, as_numbers, strengths
from agent.competitions.leak_tables import Opened, contents, labels, parse
from agent.competitions.loading import CANARY

BOARDS = ("public_leaderboard.csv", "private_leaderboard.csv")
OPTIMA = {True: (1.0, 100.0), False: (0.0,)}  # by higher is better; of metrics that have one
OPTIMAL_SHARE = 0.05  # of a board's entries, from where on its top tells nothing
SEARCHED_BYTES = 64 << 20  # of a file, unpacked; a larger one is named as not searched
EQUAL = 0.98  # share of equal answers above chance


def check_boards(opened: Opened) -> Outcome:
    """Boards that are the same, or whose top is a perfect score many times over."""
    scores: dict[str, np.ndarray] = {}
    not_run = []
    for name in BOARDS:
        path = opened.private / name
        if not path.is_file():
            not_run.append(f"{name} is missing")
            continue
        found = _scores(pd.read_csv(path).drop(columns=CANARY, errors="ignore"))
        if found is None:
            not_run.append(f"{name} has no scores")
        else:
            scores[name] = found
    findings = [one for name, found in scores.items() for one in _optimal(name, found)]
    ordered = [np.sort(found) for found in scores.values()]
    if len(ordered) == 2 and np.array_equal(ordered[0], ordered[1]):
        sentence = "public and private board hold the same scores: nothing is held back"
        findings.append(Finding("boards", "warning", "leaderboards", 1.0, sentence))
    return Outcome(findings, not_run)


def _scores(board: pd.DataFrame) -> np.ndarray | None:
    """The column of scores, in the board's order: by its name, else the last with numbers."""
    named = [column for column in board.columns if "score" in str(column).lower()]
    for column in [*named, *reversed(list(board.columns))]:
        numbers = as_numbers(board[column])
        if numbers is not None and np.isfinite(numbers).any():
            return numbers[np.isfinite(numbers)]
    return None


def _optimal(name: str, scores: np.ndarray) -> list[Finding]:
    """Boards begin with their best score."""
    best = float(scores[0])
    share = float((scores == best).mean())
    if len(set(scores)) < 2 or best not in OPTIMA[bool(best == scores.max())]:
        return []
    if share < OPTIMAL_SHARE:
        return []
    sentence = f"{share:.1%} of the entries have the score {best:g}, the best that there is"
    return [Finding("boards", "note", name, round(share, 6), sentence)]


def check_private_bytes(opened: Opened) -> Outcome:
    """Public files, or members of public archives, whose bytes are a private file's."""
    private = {_digest(path.read_bytes()): path.name for path in _files(opened.private)}
    private.pop(_digest(b""), None)
    searched = list(_public_contents(opened.public))
    findings = [
        Finding(
            "private_bytes", "critical", name, 1.0, f"has the bytes of private {private[digest]}"
        )
        for name, content in searched
        if content is not None and (digest := _digest(content)) in private
    ]
    return Outcome(findings, _not_searched(searched))


def check_canary(opened: Opened) -> Outcome:
    """Public files that hold the mark of the private ones."""
    tables = (pd.read_csv(path) for path in _files(opened.private) if path.suffix == ".csv")
    marks = sorted({str(one) for table in tables if CANARY in table for one in table[CANARY]})
    if not marks:
        return Outcome(not_run=["private tables carry no mark"])
    searched = list(_public_contents(opened.public))
    sentence = "holds the mark that only private files carry"
    findings = [
        Finding("canary", "critical", name, 1.0, sentence)
        for name, content in searched
        if content is not None and any(mark.encode() in _text(name, content) for mark in marks)
    ]
    return Outcome(findings, _not_searched(searched))


def check_public_answers(opened: Opened) -> Outcome:
    """Public tables, train and sample submission included, that hold the answers by id."""
    findings = []
    tests = max(1, sum(table.rows.shape[1] for table in opened.aligned) * len(opened.targets))
    for table in opened.aligned:
        for answers, _ in targets_of(opened, table.rows.index):
            for column in table.rows.columns:
                if column == table.id_column:
                    continue
                same = labels(table.rows[column]).to_numpy(dtype=object)
                found = strengths(answers, Guess("equality", labels=same))
                if found and found[0].value >= EQUAL and found[0].p * tests < CHANCE:
                    subject = f"{table.name}:{column}"
                    sentence = (
                        f"equals the answers' {answers.name!r} in {len(same)} rows matched by "
                        f"id{opened.sampled}"
                    )
                    value = round(found[0].value, 6)
                    findings.append(Finding("public_answers", "critical", subject, value, sentence))
    if not opened.aligned:
        few = f"no public table has {FEWEST_ROWS} of the answers' ids"
        return Outcome(not_run=[few])
    return Outcome(findings)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _public_contents(public: Path) -> Iterator[tuple[str, bytes | None]]:
    """Every public file and archive member as (name, bytes); None where too large to search."""
    for path in _files(public):
        name = path.relative_to(public).as_posix()
        if path.stat().st_size > SEARCHED_BYTES or _unpacked(path) > SEARCHED_BYTES:
            yield name, None
        else:
            yield from contents(name, path.read_bytes())


def _unpacked(path: Path) -> int:
    if path.suffix.lower() != ".zip" or not zipfile.is_zipfile(path):
        return 0
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def _not_searched(searched: list[tuple[str, bytes | None]]) -> list[str]:
    large = [name for name, content in searched if content is None]
    return [f"{name}: more than {SEARCHED_BYTES} bytes" for name in large]


def _text(name: str, content: bytes) -> bytes:
    """Bytes in which a mark can be found: Parquet packs its values."""
    if name.lower().endswith(".parquet"):
        return parse(name, content).to_csv(index=False).encode()
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
