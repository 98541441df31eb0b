"""Write the benchmark's own measures of a study beside the published ones: CSV and LaTeX."""

import json
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray

from agent.core.errors import one_line_errors
from agent.core.timing import Stopwatch
from agent.evaluation.benchmark_measures import read_published
from agent.evaluation.benchmark_table import benchmark_latex, benchmark_table, read_catalogue
from agent.evaluation.files import read_csv, write_csv, write_text
from agent.evaluation.inputs import read_scores


def main(
    scores: Path,
    competitions_table: Path,
    published: Path,
    competitions_dir: Path,
    kaggle: tuple[str, ...],
    resamples: int,
    seed: int,
    benchmark_csv: Path,
    benchmark_tex: Path,
    timing: Path | None = None,
) -> None:
    """Tabulate AUP, HumanRank, Elo and medals per category on the held-out competitions.

    Args:
        scores: scores.csv, one row per evaluated episode.
        competitions_table: the study's table of competitions; its task types are the categories.
        published: the quoted figures, config/mle_dojo/published.csv.
        competitions_dir: folder of the prepared competitions.
        kaggle: the held-out competitions whose leaderboards are Kaggle's.
        resamples: bootstrap resamples of every interval.
        seed: seed of the bootstrap.
        benchmark_csv: one row per measured policy and per quoted model, to write.
        benchmark_tex: the same as a LaTeX tabular.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("tabulate_benchmark", benchmark_csv.name)
    with stopwatch.phase("analyse"):
        quoted, categories = read_published(published), read_catalogue(competitions_table)
        boards = {name: read_board(competitions_dir / name) for name in kaggle}
        rows = read_scores(scores)
        table = benchmark_table(rows, categories, quoted, boards, resamples, seed)
        write_csv(benchmark_csv, table)
        write_text(benchmark_tex, benchmark_latex(table))
    stopwatch.write(timing)


def read_board(folder: Path) -> tuple[NDArray[np.float64], bool]:
    """The private leaderboard, and whether a higher metric is better."""
    facts = json.loads((folder / "competition.json").read_text())
    board = read_csv(folder / "data/private/private_leaderboard.csv", ("score",))
    return board["score"].to_numpy(float), facts["higher_is_better"]


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
