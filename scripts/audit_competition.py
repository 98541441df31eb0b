"""Look for leaks in one prepared competition: what its public files tell about the answers."""

from pathlib import Path

import tyro

from agent.competitions.leak_audit import audit_competition, to_record
from agent.core.errors import one_line_errors
from agent.core.timing import Stopwatch
from agent.evaluation.files import write_json


def main(competition: str, folder: Path, output: Path, timing: Path | None = None) -> None:
    """Audit a competition.

    Args:
        competition: name of the competition, for the record.
        folder: the prepared competition, with data/public and data/private; only read.
        output: file to write, audit.json.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("audit_competition", competition)
    with stopwatch.phase("audit"):
        write_json(output, to_record(competition, audit_competition(folder)))
    stopwatch.write(timing)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
