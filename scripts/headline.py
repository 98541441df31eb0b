"""Pick the headline numbers of a study from its tables and state them in plain words."""

import json
from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.evaluation.comparison import STATISTICS_COLUMNS
from agent.evaluation.files import read_csv, write_json, write_text
from agent.evaluation.headline import describe, headline
from agent.evaluation.inputs import Scoring, read_turns


def main(
    statistics: Path,
    competitions: Path,
    turns: Path,
    timing_summary: Path,
    output: Path,
    text: Path,
    scoring: Scoring = "halves",
) -> None:
    """Write the headline.

    Args:
        statistics: table of measures, from compare_policies.
        competitions: table of competitions, from compare_policies.
        turns: every turn, from collect_scores.
        timing_summary: JSON summary, from summarise_timing.
        output: JSON to write.
        text: the same in plain words, to write.
        scoring: the answers that judge, the final half or as upstream all.
    """
    numbers = headline(
        read_csv(statistics, STATISTICS_COLUMNS),
        read_csv(competitions, ("group", "competition", "data_set", "gain")),
        read_turns(turns),
        json.loads(timing_summary.read_text()),
    )
    write_json(output, numbers)
    write_text(text, describe(numbers, scoring) + "\n")


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
