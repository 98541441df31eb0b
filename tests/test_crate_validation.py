"""The RO-Crate community's own validator on a study's crate; `make crate-validator` installs it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT, run
from test_provenance import job
from version import code_version

from agent.evaluation.crate import FOLDERS

VALIDATOR = ROOT / ".venv/crate-validator"
CONTEXTS = VALIDATOR / "contexts"  # a cache of the two JSON-LD contexts; the profiles are bundled
PROFILES = ("ro-crate-1.1", "process-run-crate-0.5", "workflow-run-crate-0.5")
# What the profiles recommend and the crate cannot have: the address of the workflow and its authors
# where it was not cloned from any. 5.1 takes the workflow's classes for applications.
NO_ADDRESS = {"process-run-crate-0.5_3.2", "ro-crate-1.1_31.2"}
NO_REGISTRY = {"process-run-crate-0.5_13.2"}  # images are built from recipes where they are used
MISTAKEN = {"process-run-crate-0.5_5.1"}

pytestmark = pytest.mark.skipif(
    not CONTEXTS.with_suffix(".sqlite").is_file(),
    reason="no validator of RO-Crates: run make crate-validator, with a network",
)


def validate(crate: Path, profile: str, severity: str) -> dict[str, Any]:
    """The validator's report, without a network."""
    report = crate.parent / f"{profile}.json"
    command = [
        *(str(VALIDATOR / "bin/rocrate-validator"), "-y", "validate", str(crate)),
        *("--profile-identifier", profile, "--requirement-severity", severity),
        *("--offline", "--cache-path", str(CONTEXTS), "--no-paging"),
        *("--output-format", "json", "--output-file", str(report)),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert report.is_file(), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def findings(report: dict[str, Any]) -> dict[str, str]:
    return {issue["check"]["identifier"]: issue["message"] for issue in report["issues"]}


@pytest.fixture(scope="module")
def crate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder as the script leaves it, with files in the place of results."""
    folder = tmp_path_factory.mktemp("crate") / "results"
    made = {
        "timing.json": job("train_rl", 100.0),
        "turns.csv": "sandbox\nnamespaces\n",
        "wine/competition.json": "{}",
        "scores.csv": "score\n0.5\n",
        "headline.txt": "base 0.1 -> trained 0.2\n",
        "headline.json": "{}\n",
        "timing/costs.csv": "tokens\n1\n",
    }
    for name in (*FOLDERS, "seed0/"):
        (folder / name).mkdir(parents=True)
    for name, text in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    paths = {name: str(folder / name) for name in made}
    done = run(
        ROOT,
        *("python", "scripts/write_provenance.py"),
        *("--config", json.dumps({"study": "small", "seeds": [0]})),
        *("--version", json.dumps(code_version())),
        *("--competitions", paths["wine/competition.json"]),
        *("--timings", paths["timing.json"], "--turns", paths["turns.csv"]),
        *("--results", *(paths[name] for name in list(made)[3:])),
        *("--images", paths["scores.csv"], paths["headline.txt"]),
        *("--output-dir", str(folder), "--snakemake-version", "9.0"),
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("profile", PROFILES)
def test_the_crate_has_all_that_a_profile_requires(crate: Path, profile: str) -> None:
    report = validate(crate, profile, "required")
    assert report["passed"], findings(report)
    assert report["statistics"]["total_passed_checks"] >= 38


def test_the_crate_has_all_that_is_recommended_and_known(crate: Path) -> None:
    found = findings(validate(crate, PROFILES[-1], "recommended"))
    assert set(found) <= NO_ADDRESS | NO_REGISTRY | MISTAKEN, found


def test_a_crate_that_lacks_something_is_found_out(crate: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(crate, tmp_path / "broken")
    metadata = json.loads((broken / "ro-crate-metadata.json").read_text())
    [root] = [entity for entity in metadata["@graph"] if entity["@id"] == "./"]
    del root["mainEntity"], root["license"]
    (broken / "ro-crate-metadata.json").write_text(json.dumps(metadata))
    report = validate(broken, PROFILES[-1], "required")
    assert not report["passed"] and len(findings(report)) >= 2
