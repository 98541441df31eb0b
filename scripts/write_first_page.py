"""Answer what a newcomer asks of a study, for the report's first page."""

import json
from pathlib import Path

import pandas as pd
import tyro

from agent.core.errors import one_line_errors
from agent.core.settings import read_config
from agent.evaluation.cost_figures import COST_METRICS, spent_before
from agent.evaluation.files import write_text
from agent.evaluation.inputs import read_training_metrics
from agent.evaluation.writing import fill, groups_of


def main(
    config: str,
    headline: Path,
    timing_summary: Path,
    training_metrics: list[Path],
    competitions: Path,
    provenance: Path,
    paper_kit: Path,
    trajectory_browser: Path,
    output: Path,
) -> None:
    """Write the answers as reStructuredText.

    Args:
        config: the study's settings, a YAML file or JSON text.
        headline: JSON with the headline numbers.
        timing_summary: JSON summary, from summarise_timing.
        training_metrics: metrics.json of every PPO update.
        competitions: the table that says which group each competition is in.
        provenance: provenance.json, which knows the commit.
        paper_kit: folder of the paper kit, which the page names.
        trajectory_browser: folder of the trajectory browser, which numbers on the page lead to.
        output: file to write.
    """
    metrics = read_training_metrics(training_metrics, COST_METRICS)
    cost = {
        "tokens": 1000 * spent_before(metrics, "tokens").iloc[-1].sum(),
        "programs": spent_before(metrics, "programs").iloc[-1].sum(),
    }
    facts = {
        "config": read_config(config),
        "n": json.loads(headline.read_text()),
        "time": json.loads(timing_summary.read_text()),
        "cost": cost,
        "groups": groups_of(pd.read_csv(competitions, sep="\t", comment="#")),
        "made": json.loads(provenance.read_text()),
        "kit": paper_kit,
        "browser": trajectory_browser,
    }
    write_text(output, fill("first_page.rst", **facts))


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
