"""Rebuild one leaderboard: score every reference pipeline on one competition."""

from pathlib import Path

import tyro

from agent.competitions.preparation import assemble
from agent.competitions.reference_pool import build_leaderboard, write_leaderboard
from agent.competitions.suite import find_entry
from agent.core.errors import one_line_errors


def main(competition: str, output: Path) -> None:
    """Score the reference pool.

    Args:
        competition: name of the competition, as in config/competitions.tsv.
        output: CSV to write: pipeline, feedback, final.
    """
    entry = find_entry(competition)
    write_leaderboard(build_leaderboard(assemble(entry), entry.metric), output)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
