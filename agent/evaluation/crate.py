"""A study's results folder as a Workflow Run RO-Crate: `ro-crate-metadata.json` beside the files.

The profile is https://w3id.org/ro/wfrun/workflow/0.5, on RO-Crate 1.1.
"""

from collections.abc import Mapping, Sequence
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
LICENSE = "https://spdx.org/licenses/MIT"
TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".txt": "text/plain",
}
README = "README.md"
AUTHORS = "#authors"
RUN = "#run"


def crate(facts: Mapping[str, Any], workflow: str, results: Sequence[Path], version: str) -> Entity:
    """The metadata of the folder that holds `results`, README.md, provenance.json and the workflow.

    facts: what `provenance.describe_study` found; `version` is Snakemake's.
    """
    files = [path.name for path in results]
    graph = [
        *_folder(facts, workflow, files),
        *_profiles(),
        *_workflow(facts, workflow, version),
        *_run(facts, workflow, files),
        _file(README, "What is in this folder, and how to make it") | {"about": {"@id": "./"}},
        _file("provenance.json", "Commit, configuration, packages, data, machines and time"),
        *(
            _file(name, f"Result {name}") | {"sha256": facts["results_sha256"][name]}
            for name in files
        ),
    ]
    return {"@context": CONTEXT, "@graph": graph}


def _folder(facts: Mapping[str, Any], workflow: str, files: Sequence[str]) -> list[Entity]:
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
            "hasPart": [{"@id": name} for name in (workflow, README, "provenance.json", *files)],
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
        },
        {"@id": AUTHORS, "@type": "Organization", "name": "The mle-dojo-rl authors"} | _url(facts),
    ]


def _run(facts: Mapping[str, Any], workflow: str, files: Sequence[str]) -> list[Entity]:
    """What was done, and with which configuration."""
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
            "object": {"@id": "#config"},
            "result": [{"@id": name} for name in ("provenance.json", *files)],
        },
        {
            "@id": "#config",
            "@type": "PropertyValue",
            "name": "config",
            "value": facts["config_sha256"],
            "exampleOfWork": {"@id": "#config-parameter"},
        },
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
