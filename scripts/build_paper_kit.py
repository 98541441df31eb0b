"""Write what a paper needs: numbers, methods, checklist, references, tables, figures."""

import json
from pathlib import Path

import pandas as pd
import tyro

from agent.core.errors import one_line_errors
from agent.core.settings import read_config
from agent.evaluation.files import read_csv, write_bytes, write_text
from agent.evaluation.paper import Study, paper_texts


def main(
    config: str,
    headline: Path,
    timing_summary: Path,
    results: Path,
    competitions: Path,
    figures: list[Path],
    captions: list[Path],
    tables: list[Path],
    output_dir: Path,
) -> None:
    """Write the kit into one folder, from which paper.tex compiles.

    Args:
        config: the study's settings, a YAML file or JSON text.
        headline: JSON with the headline numbers.
        timing_summary: JSON summary, from summarise_timing.
        results: table of results, from tabulate_results.
        competitions: the table that says which group each competition is in.
        figures: PDF of every figure, in the order of the paper.
        captions: caption of every figure, in the same order.
        tables: tables in LaTeX, to be copied.
        output_dir: folder to write.
    """
    study = Study(
        read_config(config),
        json.loads(headline.read_text()),
        read_csv(results, ("policy", "iqm", "gain")),
        pd.read_csv(competitions, sep="\t", comment="#"),
        {path.stem: path.read_text().strip() for path in captions},
        json.loads(timing_summary.read_text()),
    )
    for name, text in paper_texts(study).items():
        write_text(output_dir / name, text)
    for path in [*figures, *tables]:
        write_bytes(output_dir / path.name, path.read_bytes())


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
