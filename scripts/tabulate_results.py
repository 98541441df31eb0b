"""Write the tables of results: CSV and LaTeX."""

from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.evaluation.comparison import STATISTICS_COLUMNS
from agent.evaluation.files import read_csv, write_csv, write_text
from agent.evaluation.tables import competitions_latex, results_latex, results_table


def main(
    statistics: Path,
    competitions: Path,
    results_csv: Path,
    results_tex: Path,
    competitions_tex: Path,
) -> None:
    """Write the tables of results.

    Args:
        statistics: table of measures, from compare_policies.
        competitions: table of competitions, from compare_policies.
        results_csv: one row per policy, to write.
        results_tex: the same as a LaTeX tabular.
        competitions_tex: held-out competitions as a LaTeX tabular.
    """
    results = results_table(read_csv(statistics, STATISTICS_COLUMNS))
    write_csv(results_csv, results)
    write_text(results_tex, results_latex(results))
    by_competition = read_csv(competitions, ("competition", "task_type", "base", "trained"))
    write_text(competitions_tex, competitions_latex(by_competition))


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
