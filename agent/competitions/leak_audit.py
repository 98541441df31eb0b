"""The leak audit of a prepared competition: every check, and what of it could not run."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.competitions.leak_checks import (
    check_columns,
    check_file_sizes,
    check_file_times,
    check_ids,
    check_row_order,
)
from agent.competitions.leak_duplicates import check_duplicates
from agent.competitions.leak_files import (
    check_boards,
    check_canary,
    check_private_bytes,
    check_public_answers,
)
from agent.competitions.leak_findings import SEVERITIES, Finding, Outcome
from agent.competitions.leak_tables import (
    Opened,
    UnidentifiedAnswersError,
    drop_columns,
    open_tables,
)

CHECKS: dict[str, Callable[[Opened], Outcome]] = {
    "columns": check_columns,
    "row_order": check_row_order,
    "ids": check_ids,
    "file_sizes": check_file_sizes,
    "file_times": check_file_times,
    "duplicates": check_duplicates,
    "boards": check_boards,
    "private_bytes": check_private_bytes,
    "canary": check_canary,
    "public_answers": check_public_answers,
}


@dataclass(frozen=True, slots=True)
class Audit:
    """Findings, worst first; a check is in `ran`, in `not_run` with a reason, or, partly, both."""

    findings: tuple[Finding, ...]
    ran: tuple[str, ...]
    not_run: tuple[tuple[str, str], ...]  # (check, why)


def audit_competition(folder: Path) -> Audit:
    """Audit the competition in `folder`; it is only read.

    The same files give the same audit, but that `file_times` looks at modification times, which a
    copy may not keep.
    """
    try:
        opened = open_tables(folder)
    except UnidentifiedAnswersError as unreadable:
        return Audit((), (), (("tables", str(unreadable)),))
    findings: list[Finding] = []
    ran = []
    not_run = [("tables", f"{name}: {why}") for name, why in opened.unread]
    for name, check in CHECKS.items():
        outcome = check(opened)
        findings += outcome.findings
        not_run += [(name, why) for why in outcome.not_run]
        if outcome.findings or not outcome.not_run:
            ran.append(name)
    return Audit(tuple(sorted(findings, key=_order)), tuple(ran), tuple(sorted(not_run)))


def leaking_columns(findings: tuple[Finding, ...] | list[Finding]) -> tuple[str, ...]:
    """The public columns that leak by themselves, by name, for `leak_tables.drop_columns`.

    Columns named as the answers' are never among them: dropping those would take train's targets.
    """
    critical = [one for one in findings if (one.check, one.severity) == ("columns", "critical")]
    return tuple(sorted({one.subject.partition(":")[2] for one in critical}))


def drop_leaking_columns(folder: Path) -> list[str]:
    """Rewrite the public tables without the columns that leak; returns the names of these."""
    columns = leaking_columns(audit_competition(folder).findings)
    public = folder / "data/public"
    for name, content in (drop_columns(public, columns) if columns else {}).items():
        (public / name).write_bytes(content)
    return list(columns)


def to_record(competition: str, audit: Audit) -> dict[str, object]:
    """The audit as `audit.json` holds it."""
    return {
        "competition": competition,
        "counts": {name: _count(audit, name) for name in SEVERITIES},
        "leaking_columns": list(leaking_columns(audit.findings)),
        "findings": [dataclasses.asdict(finding) for finding in audit.findings],
        "ran": list(audit.ran),
        "not_run": [{"check": check, "why": why} for check, why in audit.not_run],
    }


def _count(audit: Audit, severity: str) -> int:
    return sum(finding.severity == severity for finding in audit.findings)


def _order(finding: Finding) -> tuple[int, str, str, float, str]:
    return (
        SEVERITIES.index(finding.severity),
        finding.check,
        finding.subject,
        -finding.value,
        finding.explanation,
    )
