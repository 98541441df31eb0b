"""Write one competition of MLE-Dojo as a folder that the agent plays in."""

import os
from functools import partial
from pathlib import Path
from typing import Literal

import tyro

from agent.competitions.catalogue import CATALOGUE, find, read_catalogue
from agent.competitions.kaggle_folder import Upstream, prepare_kaggle_competition
from agent.competitions.kaggle_source import KAGGLE_API, RawSource
from agent.core.errors import one_line_errors
from agent.core.timing import Stopwatch
from agent.wrappers.mledojo_checkout import verify_checkout
from agent.wrappers.mledojo_metrics import load_metric
from agent.wrappers.mledojo_prepare import (
    check_prepare,
    dsbench_address,
    run_prepare,
    title_of,
)


def main(
    competition: str,
    checkout_dir: Path,
    commit: str,
    output_dir: Path,
    archive: Path | None = None,
    group: Literal["train", "validation", "held_out", ""] = "",
    drop_leaking_columns: bool = False,
    catalogue: Path = CATALOGUE,
    kaggle_url: str = KAGGLE_API,
    timing: Path | None = None,
) -> None:
    """Prepare a competition from its raw files.

    Args:
        competition: the name in its Kaggle address, as in config/mle_dojo/competitions.csv.
        checkout_dir: MLE-Dojo's checkout; written into the facts as it is given here.
        commit: the whole hash of the commit that the checkout must be at.
        output_dir: folder to write; one prepared before is replaced once the new one is complete.
        archive: zip or folder as Kaggle gives it (DSBench's data.zip for a DSBench task); without
            it the raw files are downloaded.
        group: what the study uses it for; empty for its split in MLE-Dojo.
        drop_leaking_columns: leave out public columns that give the answers away by themselves.
        catalogue: the catalogue of MLE-Dojo's competitions.
        kaggle_url: address of Kaggle's API.
        timing: file for the record of where the time went.
    """
    stopwatch = Stopwatch("prepare_mle_dojo_competition", competition)
    entry = find(read_catalogue(catalogue), competition)
    verify_checkout(checkout_dir, commit)
    metric = load_metric(checkout_dir, competition)
    if entry.source == "dsbench":
        address = "" if archive else dsbench_address(checkout_dir)
    else:
        address = ""
        check_prepare(checkout_dir, competition)
    prepare = partial(run_prepare, checkout_dir, competition)
    title = title_of(checkout_dir, competition)
    with stopwatch.phase("prepare"):
        facts = prepare_kaggle_competition(
            entry,
            Upstream(checkout_dir, commit, title, prepare, metric),
            RawSource(archive, address, os.environ, Path.home(), kaggle_url),
            output_dir,
            group,
            drop_leaking_columns,
        )
    print(f"{competition}: sample submission: {facts['sample_submission']}")
    print(f"{competition}: halves: {facts.get('halves', 'feedback and final')}")
    for column in facts.get("dropped_columns", []):
        print(f"{competition}: left out the leaking column {column}")
    stopwatch.write(timing)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
