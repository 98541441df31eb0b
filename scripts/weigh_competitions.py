"""Decide how often an iteration plays each training competition, where not all equally often."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from agent.core.errors import one_line_errors
from agent.core.files import write_text
from agent.core.timing import Stopwatch
from agent.core.trajectories import read_trajectories
from agent.training.curriculum import category_weights, learnability_weights


@dataclass(frozen=True)
class Arguments:
    by: Literal["category", "learnability"]
    """category: every category equally often; learnability: more of what sometimes goes well"""
    competitions: tuple[str, ...]
    """names of the training competitions"""
    output: Path
    """table to write, tab-separated: competition, weight and what it comes from"""
    categories: tuple[str, ...] = ()
    """category of each competition, in the same order; only read for category"""
    trajectories: tuple[Path, ...] = ()
    """shards of the run's latest iterations; only read for learnability"""
    timing: Path | None = None
    """file for the record of where the time went"""


def main(arguments: Arguments) -> None:
    stopwatch = Stopwatch("weigh_competitions", str(arguments.output))
    names = arguments.competitions
    if arguments.by == "category":
        if len(arguments.categories) != len(names):
            raise ValueError(
                f"--categories: {len(arguments.categories)} for {len(names)} competitions: "
                "give one for each"
            )
        table = category_weights(names, arguments.categories)
    else:
        with stopwatch.phase("read"):
            played = [t for shard in arguments.trajectories for t in read_trajectories(shard)]
        table = learnability_weights(names, played)
    write_text(arguments.output, table.to_csv(sep="\t", index=False, lineterminator="\n"))
    stopwatch.write(arguments.timing)


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Arguments, description=__doc__))
