"""Write one competition of the embedded suite as a folder in MLE-Dojo's format."""

from pathlib import Path

import tyro

from agent.competitions.folder import prepare_competition
from agent.competitions.suite import find_entry
from agent.core.errors import one_line_errors
from agent.core.timing import Stopwatch


def main(competition: str, leaderboard: Path, output_dir: Path, timing: Path | None = None) -> None:
    """Prepare a competition.

    Args:
        competition: name of the competition, as in config/competitions.tsv.
        leaderboard: the reference pool's scores, config/leaderboards/<competition>.csv.
        output_dir: folder to write, replaced as a whole.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("prepare_competition", competition)
    with stopwatch.phase("prepare"):
        prepare_competition(find_entry(competition), leaderboard, output_dir)
    stopwatch.write(timing)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
