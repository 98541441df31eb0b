"""The thin scripts that start or submit a study, and those that start a SLURM for the tests."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from checkout import ROOT, SMOKE, copy_repository, run

# A login without the environment: what is named by its path is found, and nothing else.
BARE = {"PATH": "/usr/bin:/bin"}


def call(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=BARE | variables, capture_output=True, text=True, check=False
    )


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "played", "trained"), [("run_baseline.sh", 1, 0), ("train_rl.sh", 0, 2)]
)
def test_a_script_starts_a_part_of_the_study(
    tmp_path: Path, script: str, played: int, trained: int
) -> None:
    folder = copy_repository(tmp_path)
    done = run(folder, f"scripts/{script}", "--dry-run", "--configfile", SMOKE)
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE))
    assert int(counts.get("evaluate", 0)) == played, done.stderr
    assert int(counts.get("train_rl", 0)) == trained


@pytest.mark.parametrize(
    ("options", "called"),
    [
        ([], ["--cores", "all"]),
        (["--configfile", SMOKE], ["--cores", "all", "--configfile", SMOKE]),
        (["-c4"], ["-c4"]),
        (["--profile", "slurm"], ["--profile", "slurm"]),
        (["-n", "--cores", "2"], ["-n", "--cores", "2"]),
    ],
)
def test_a_script_needs_no_environment_and_takes_all_cores_unless_told(
    tmp_path: Path, options: list[str], called: list[str]
) -> None:
    for script, target in (("run_baseline.sh", "baseline"), ("train_rl.sh", "training")):
        (tmp_path / "scripts").mkdir(exist_ok=True)
        shutil.copy(ROOT / "scripts" / script, tmp_path / "scripts")
        program(tmp_path / ".venv/bin/snakemake", 'printf "%s\\n" "$@"')
        done = call(tmp_path, f"scripts/{script}", *options)
        assert done.stdout.splitlines() == [target, *called], done.stderr


def test_a_submitted_controller_needs_no_environment(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path / "with 'a' name")
    program(folder / "bin/sbatch", "exec sh")  # at once, as a job would be
    program(folder / ".venv/bin/python", 'printf "%s\\n" "$@"')
    path = f"{folder}/bin:{BARE['PATH']}"
    options = ["--config", "study=a 'study'"]
    done = call(folder, "scripts/submit_slurm.sh", *options, PATH=path)
    expected = ["scripts/resume.py", "--", "--profile", "slurm", *options]
    assert done.stdout.splitlines() == expected, done.stderr


def test_a_cluster_that_is_there_is_left_alone(tmp_path: Path) -> None:
    done = call(tmp_path, "/bin/bash", f"{ROOT}/tests/cluster/without_accounting.sh", PATH="")
    assert done.returncode == 1 and "only for the SLURM that with_slurm.sh starts" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a SLURM")
def test_a_slurm_that_cannot_be_installed_is_a_failure(tmp_path: Path) -> None:
    """Unlike one that a machine does not allow, which make test-cluster OPTIONAL=1 accepts."""
    program(tmp_path / "apt-get", "echo 'no such package' >&2; exit 100")
    path = f"{tmp_path}:/usr/sbin:/sbin:{BARE['PATH']}"
    done = call(tmp_path, f"{ROOT}/tests/cluster/with_slurm.sh", "true", PATH=path)
    if "namespaces" in done.stderr or "mounts no" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 1, done.stderr
    assert done.stderr.endswith("apt-get could not install it: no such package\n")
