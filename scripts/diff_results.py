"""Show what moved between two versions of a study's results, as after grading it again.

Keep the version before (`cp -r results/embedded before`), run the workflow, then compare. The exit
status is 0 when nothing moved, 3 when something did, 1 for an error.
"""

import sys
from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.evaluation.difference import compare_studies, difference_text
from agent.evaluation.files import write_csv

SOMETHING_MOVED = 3


def main(before: Path, after: Path, output: Path | None = None) -> None:
    """Compare the tables of measures, number by number: measures first, then the largest change.

    Args:
        before: results folder of a study, or a copy of its tables.
        after: the results folder to compare with it.
        output: CSV of what moved, to write; none when not given.
    """
    difference = compare_studies(before, after)
    print(difference_text(difference))
    if output is not None:
        write_csv(output, difference.moved)
    if not difference.empty:
        sys.exit(SOMETHING_MOVED)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
