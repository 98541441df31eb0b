"""Write the table of leaks: one row a competition, from the audits of all."""

import json
from pathlib import Path

import pandas as pd
import tyro

from agent.core.errors import one_line_errors
from agent.core.timing import Stopwatch
from agent.evaluation.files import write_csv

COLUMNS = ("competition", "critical", "warning", "note", "leaking_columns", "findings", "not_run")


def main(audits: tuple[Path, ...], output: Path, timing: Path | None = None) -> None:
    """Tabulate audits.

    Args:
        audits: files written by audit_competition.
        output: table to write, one row a competition, sorted by name.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("tabulate_audits", output.name)
    with stopwatch.phase("write"):
        rows = sorted((audit_row(path) for path in audits), key=lambda row: str(row["competition"]))
        write_csv(output, pd.DataFrame(rows, columns=list(COLUMNS)))
    stopwatch.write(timing)


def audit_row(path: Path) -> dict[str, object]:
    """Counts by severity, and the findings in words, worst first."""
    record = json.loads(path.read_text(encoding="utf-8"))
    missing = {"competition", "counts", "leaking_columns", "findings", "not_run"} - set(record)
    if missing:
        raise ValueError(f"{path}: key {min(missing)!r} is missing; audit the competition again")
    findings = [
        f"{one['severity']} {one['check']} {one['subject']}: {one['explanation']}"
        for one in record["findings"]
    ]
    return {
        "competition": record["competition"],
        **record["counts"],
        "leaking_columns": " ".join(record["leaking_columns"]),
        "findings": " | ".join(findings),
        "not_run": " ".join(sorted({one["check"] for one in record["not_run"]})),
    }


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
