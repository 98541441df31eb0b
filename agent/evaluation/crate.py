"""A study's results folder as a Workflow Run RO-Crate: `ro-crate-metadata.json` beside the files.

The profile is https://w3id.org/ro/wfrun/workflow/0.5, on RO-Crate 1.1.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Entity = dict[str, Any]

PROFILES = (
    "https://w3id.org/ro/wfrun/process/0.5",
    "https://w3id.org/ro/wfrun/workflow/0.5",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
)
CONTEXT = [
    "https://w3id.org/ro/crate/1.1/context",
    "https://w3id.org/ro/terms/workflow-run/context",
]
SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
SIF_IMAGE = "https://w3id.org/ro/terms/workflow-run#SIFImage"
LICENSE = "https://spdx.org/licenses/MIT"
TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".txt": "text/plain",
}
# What the whole study leaves beside its files; each training run has a folder, too.
FOLDERS = {
    "tables/": "Tables of results, as CSV and LaTeX",
    "figures/": "Figures as PDF, SVG and PNG, each with its caption",
    "paper/": "What a paper about the study needs: numbers, methods, checklist, settings",
    "trajectory_browser/": "A page in which every episode can be read turn by turn",
    "evaluation/": "Episodes played in evaluation with every submission, and their scores",
    "timing/": "What each job noted of its time, memory, cores, GPUs and machine",
    "base_model/": "The policy that every training run starts from",
}
RUN_FOLDER = "Trajectories, metrics and checkpoints of a training run"
README = "README.md"
AUTHORS = "#authors"
RUN = "#run"


def crate(facts: Mapping[str, Any], workflow: str, version: str) -> Entity:
    """The metadata of the folder that holds the results, README.md, provenance.json, the workflow.

    facts: what `provenance.describe_study` found; `version` is Snakemake's.
    """
    files = facts["results_sha256"]
    folders = FOLDERS | {f"seed{seed}/": f"{RUN_FOLDER}, seed {seed}" for seed in facts["seeds"]}
    results = [{"@id": name} for name in ("provenance.json", *files, *folders)]
    graph = [
        *_folder(facts, workflow, results),
        *_profiles(),
        *_workflow(facts, workflow, version),
        *_run(facts, workflow, results),
        *_competitions(facts),
        *_images(facts),
        _file(README, "What is in this folder, and how to make it") | {"about": {"@id": "./"}},
        _file("provenance.json", "Commit, configuration, packages, data, machines and time"),
        *(_file(name, f"Result {name}") | {"sha256": digest} for name, digest in files.items()),
        *(
            {"@id": name, "@type": "Dataset", "name": name, "description": description}
            for name, description in folders.items()
        ),
    ]
    return {"@context": CONTEXT, "@graph": graph}


def _folder(facts: Mapping[str, Any], workflow: str, results: list[Entity]) -> list[Entity]:
    """The metadata file, the folder that it describes, its licence and its authors."""
    return [
        {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": [
                {"@id": "https://w3id.org/ro/crate/1.1"},
                {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
            ],
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": f"Study {facts['study']}",
            "description": "An LLM agent for machine-learning engineering before and after "
            "training: scores on held-out competitions, and what they were computed with.",
            "datePublished": _time(facts["ended"]),
            "license": {"@id": LICENSE},
            "conformsTo": [{"@id": profile} for profile in PROFILES],
            "hasPart": [{"@id": workflow}, {"@id": README}, *results],
            "mainEntity": {"@id": workflow},
            "mentions": {"@id": RUN},
            "author": {"@id": AUTHORS},
            "publisher": {"@id": AUTHORS},
        },
        {
            "@id": LICENSE,
            "@type": "CreativeWork",
            "name": "MIT License",
            "identifier": "MIT",
            "description": "Of the code, and of what the study made. Data of competitions, and "
            "what episodes show of them, are under the terms of where they come from.",
        },
        {"@id": AUTHORS, "@type": "Organization", "name": "The mle-dojo-rl authors"} | _url(facts),
    ]


def _run(facts: Mapping[str, Any], workflow: str, results: list[Entity]) -> list[Entity]:
    """What was done, with which configuration, on which competitions, in which images."""
    images = [{"@id": entity["@id"]} for entity in _images(facts)]
    return [
        {
            "@id": RUN,
            "@type": "CreateAction",
            "name": f"Run of the study {facts['study']}",
            "instrument": {"@id": workflow},
            "agent": {"@id": AUTHORS},
            "startTime": _time(facts["started"]),
            "endTime": _time(facts["ended"]),
            "actionStatus": "http://schema.org/CompletedActionStatus",
            "description": "All jobs of the study, whenever they ran",
            "object": [
                {"@id": "#config"},
                *({"@id": entity["@id"]} for entity in _competitions(facts)),
            ],
            "result": results,
        }
        | ({"containerImage": images} if images else {}),
        {
            "@id": "#config",
            "@type": "PropertyValue",
            "name": "config",
            "value": facts["config_sha256"],
            "exampleOfWork": {"@id": "#config-parameter"},
        },
    ]


def _competitions(facts: Mapping[str, Any]) -> list[Entity]:
    """What was played; it lies outside of the folder."""
    return [
        {
            "@id": f"#competition-{name}",
            "@type": "CreativeWork",
            "name": f"Competition {name}",
            "description": "SHA-256 of its competition.json, which has those of its files",
            "sha256": digest,
        }
        for name, digest in facts["competitions_sha256"].items()
    ]


def _images(facts: Mapping[str, Any]) -> list[Entity]:
    """Where jobs ran in containers; they were built from recipes and are in no registry."""
    return [
        {
            "@id": f"#{name}",
            "@type": "ContainerImage",
            "additionalType": {"@id": SIF_IMAGE},
            "name": name,
            "sha256": digest,
        }
        for name, digest in (facts["containers"] or {}).items()
    ]


def _profiles() -> list[Entity]:
    names = ("Process Run Crate", "Workflow Run Crate", "Workflow RO-Crate")
    return [
        {"@id": profile, "@type": "CreativeWork", "name": name, "version": profile.split("/")[-1]}
        for profile, name in zip(PROFILES, names, strict=True)
    ]


def _workflow(facts: Mapping[str, Any], workflow: str, version: str) -> list[Entity]:
    """The Snakefile, its language, and the one parameter of a run: the configuration."""
    return [
        {
            "@id": workflow,
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "name": "Train an LLM agent to do machine-learning engineering",
            "description": "Entry of the Snakemake workflow; its rules are in the repository at "
            f"commit {facts['commit'] or 'unknown'}",
            "programmingLanguage": {"@id": SNAKEMAKE},
            "creator": {"@id": AUTHORS},
            "license": {"@id": LICENSE},
            "input": {"@id": "#config-parameter"},
            "encodingFormat": "text/plain",
            "version": facts["commit"] or "unknown",
            "conformsTo": {"@id": BIOSCHEMAS},
        }
        | _url(facts),
        {
            "@id": SNAKEMAKE,
            "@type": "ComputerLanguage",
            "name": "Snakemake",
            "identifier": {"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
            "url": {"@id": "https://snakemake.readthedocs.io"},
            "version": version,
        },
        {
            "@id": "#config-parameter",
            "@type": "FormalParameter",
            "name": "config",
            "description": "SHA-256 of the configuration, which is in provenance.json",
            "additionalType": "Text",
            "conformsTo": {"@id": "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"},
            "valueRequired": True,
        },
    ]


def _url(facts: Mapping[str, Any]) -> Entity:
    """Where the workflow is published, where that is known."""
    return {"url": facts["repository"]} if facts["repository"] else {}


def _file(name: str, description: str) -> Entity:
    encoding = TYPES[Path(name).suffix]
    return {
        "@id": name,
        "@type": "File",
        "name": name,
        "description": description,
        "encodingFormat": encoding,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
