"""Write one competition of the embedded suite as a folder in MLE-Dojo's format."""

from pathlib import Path

import tyro

from agent.competitions.folder import prepare_competition
from agent.competitions.suite import find_entry


def main(competition: str, leaderboard: Path, output_dir: Path) -> None:
    """Prepare a competition.

    Args:
        competition: name of the competition, as in config/competitions.tsv
        leaderboard: the reference pool's scores, config/leaderboards/<competition>.csv
        output_dir: folder to write, replaced as a whole
    """
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    prepare_competition(find_entry(competition), leaderboard, output_dir)


if __name__ == "__main__":
    tyro.cli(main)
