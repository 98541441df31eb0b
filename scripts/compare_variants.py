"""Tabulate what a study's variants are worth beside the study as it is configured."""

import json
from pathlib import Path

import pandas as pd
import tyro

from agent.core.errors import one_line_errors
from agent.evaluation.files import write_csv, write_text
from agent.evaluation.inputs import read_scores
from agent.evaluation.variants import Variant, compare_variants, variants_latex


def main(
    variants: str,
    resamples: int,
    seed: int,
    planned_runs: tuple[int, ...],
    variants_csv: Path,
    variants_tex: Path,
) -> None:
    """Write the table of variants.

    Args:
        variants: JSON list of name, changes, and the scores.csv of base and trained policies; the
            first is what the others are compared with.
        resamples: bootstrap resamples.
        seed: seed of the bootstrap.
        planned_runs: training seeds that were begun; one without scores is counted as missing.
        variants_csv: one row per variant, to write.
        variants_tex: the same as a LaTeX tabular.
    """
    read = [
        Variant(
            one["name"],
            one["changes"],
            pd.concat([read_scores(Path(path)) for path in one["base"] + one["trained"]]),
        )
        for one in json.loads(variants)
    ]
    table = compare_variants(read, resamples, seed, planned_runs)
    write_csv(variants_csv, table)
    write_text(variants_tex, variants_latex(table))


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
