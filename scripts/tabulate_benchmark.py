"""Write the benchmark's own measures of a study beside the published ones: CSV and LaTeX."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.timing import Stopwatch
from agent.evaluation.benchmark_measures import read_published
from agent.evaluation.benchmark_table import benchmark_latex, benchmark_table, read_catalogue
from agent.evaluation.files import write_csv, write_text
from agent.evaluation.inputs import read_scores


def main(
    scores: Path,
    competitions_table: Path,
    published: Path,
    resamples: int,
    seed: int,
    benchmark_csv: Path,
    benchmark_tex: Path,
    timing: Path | None = None,
) -> None:
    """Tabulate AUP, HumanRank and Elo per category on the held-out competitions.

    Args:
        scores: scores.csv, one row per evaluated episode.
        competitions_table: the study's table of competitions; its task types are the categories.
        published: the quoted figures, config/mle_dojo/published.csv.
        resamples: bootstrap resamples of every interval.
        seed: seed of the bootstrap.
        benchmark_csv: one row per measured policy and per quoted model, to write.
        benchmark_tex: the same as a LaTeX tabular.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("tabulate_benchmark", benchmark_csv.name)
    with stopwatch.phase("analyse"):
        quoted, categories = read_published(published), read_catalogue(competitions_table)
        table = benchmark_table(read_scores(scores), categories, quoted, resamples, seed)
        write_csv(benchmark_csv, table)
        write_text(benchmark_tex, benchmark_latex(table))
    stopwatch.write(timing)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
