"""Write where a study's results come from: provenance.json, and the folder as an RO-Crate."""

import json
from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.evaluation.crate import README, crate
from agent.evaluation.files import write_bytes, write_json, write_text
from agent.evaluation.provenance import describe_study
from agent.evaluation.writing import fill


def main(
    config: str,
    version: str,
    competitions: list[Path],
    timings: list[Path],
    turns: Path,
    results: list[Path],
    output_dir: Path,
    snakemake_version: str,
    images: tuple[Path, ...] = (),
    constraints: Path = Path("envs/constraints.txt"),
    workflow: Path = Path("Snakefile"),
) -> None:
    """Write provenance.json, ro-crate-metadata.json, README.md and a copy of the workflow's entry.

    Args:
        config: the whole configuration as JSON.
        version: commit, dirty and repository of the code as JSON; null is what is not known.
        competitions: competition.json of every competition, which hold their files' checksums.
        timings: timing file of every job.
        turns: the study's turns.csv, which says how programs were confined.
        results: files of the results folder, or below it, to take checksums of.
        output_dir: the results folder.
        snakemake_version: of the Snakemake that runs the study.
        images: container images that jobs ran in.
        constraints: the pinned packages.
        workflow: the workflow's entry.
    """
    facts = describe_study(
        json.loads(config),
        json.loads(version),
        images,
        constraints,
        competitions,
        timings,
        turns,
        {path.relative_to(output_dir).as_posix(): path for path in results},
    )
    write_json(output_dir / "provenance.json", facts)
    write_bytes(output_dir / workflow.name, workflow.read_bytes())
    write_text(output_dir / README, fill(README, **facts))
    metadata = crate(facts, workflow.name, snakemake_version)
    write_json(output_dir / "ro-crate-metadata.json", metadata)


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
