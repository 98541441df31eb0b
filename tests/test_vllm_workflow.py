"""What of the section `vllm` runs jobs again, and what a missing vLLM costs."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import ROOT, SMOKE, configure, copy_repository, jobs_to_run, snakemake
from served import PROTOCOL, make_interpreter
from test_bad_input import settings

from agent.wrappers.vllm_settings import RunningSettings, VllmSettings, decisive

TARGET = "results/smoke/base_model_executions.parquet"
RUNNING = {"url": "http://gpu-node:8000", "api_key": None, "wait_seconds": 60.0}


def test_results_depend_on_how_a_server_computes_and_not_on_how_it_is_had() -> None:
    own = asdict(VllmSettings("python", 2, 1, 60.0, 3, ("--dtype", "float32")))
    config = {"vllm": own, "sampling": {"temperature": 1.0}}
    kept = {"tensor_parallel": 2, "data_parallel": 1, "options": ("--dtype", "float32")}
    assert decisive(config) == config | {"vllm": kept}
    assert decisive({"vllm": asdict(RunningSettings(**RUNNING))}) == {"vllm": {}}
    assert decisive({"vllm": None}) == {"vllm": None} and config["vllm"] is own


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository whose base model has passed its gate through a server."""
    folder = copy_repository(tmp_path_factory.mktemp("made"))
    own = replace(PROTOCOL, python=make_interpreter(folder), start_seconds=300.0)
    configure(folder, "vllm", json.loads(json.dumps(asdict(own))))
    done = snakemake(folder, "--cores", "2", TARGET)
    log = folder / "results/smoke/logs/base_model.log"
    assert done.returncode == 0, log.read_text() if log.exists() else done.stderr
    assert (folder / "results/smoke/base_model.vllm.log").is_file()
    return folder


def pending(folder: Path) -> set[str]:
    return jobs_to_run(snakemake(folder, "--summary", TARGET).stdout.splitlines())


@pytest.fixture
def changed(made: Path) -> Any:
    """The folder, whose configuration is put back afterwards."""
    before = (made / SMOKE).read_text()
    yield made
    (made / SMOKE).write_text(before)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("vllm.start_seconds", 3600.0, set()),
        ("vllm.restarts", 9, set()),
        ("vllm.python", "/elsewhere/python", set()),
        ("vllm.options", ["--dtype", "float32"], {"base_model"}),
        ("vllm", RUNNING, {"base_model"}),
        ("vllm", None, {"base_model"}),
    ],
)
def test_only_what_changes_results_runs_the_base_model_again(
    changed: Path, key: str, value: object, expected: set[str]
) -> None:
    assert pending(changed) == set()
    configure(changed, key, value)
    assert pending(changed) == expected


def test_a_missing_vllm_is_told_before_any_job_and_only_where_it_is_needed(changed: Path) -> None:
    configure(changed, "vllm.python", "/elsewhere/python")
    assert snakemake(changed, "--cores", "1", TARGET).returncode == 0  # nothing to do
    audit = "results/audits/wine-macro-f1-unit-errors.json"
    assert snakemake(changed, "--cores", "1", audit).returncode == 0
    configure(changed, "sampling.temperature", 0.5)
    assert snakemake(changed, "--dry-run", TARGET).returncode == 0
    log = changed / "results/smoke/logs/base_model.log"
    before = log.stat().st_mtime_ns
    done = snakemake(changed, "--cores", "1", TARGET)
    assert done.returncode == 1 and log.stat().st_mtime_ns == before
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: config/smoke.yaml: vllm.python: /elsewhere/python is no inter")
    assert (changed / TARGET).is_file()
    configure(changed, "vllm", RUNNING)
    assert "error: " not in snakemake(changed, "--dry-run", TARGET).stderr


def turns(journal: Path) -> int:
    return journal.read_bytes().count(b'"feedback"') if journal.is_file() else 0


def test_turns_are_kept_when_a_server_is_waited_for_longer(
    tmp_path: Path, tiny_model: Path, competition_folder: Path
) -> None:
    config, journal = tmp_path / "config.yaml", tmp_path / ".shard0.parquet.journal"
    own = asdict(replace(PROTOCOL, python=make_interpreter(tmp_path)))
    changes = {"sampling": {"context_tokens": 8192}, "episode": {"max_turns": 40}}

    def start(**vllm: object) -> "subprocess.Popen[str]":
        facts = json.loads(json.dumps({"vllm": own | vllm}))
        config.write_text(yaml.safe_dump(settings(**changes) | facts))
        options = ["--model-name", tiny_model, "--config", config, "--output-dir", tmp_path]
        options += ["--competitions-dir", competition_folder, "--num-episodes", "2"]
        command = [sys.executable, "scripts/generate_trajectories.py", *map(str, options)]
        command += ["--competitions", "engel-mae-outliers"]
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)

    begun = b""
    for vllm in ({}, {"start_seconds": 500.0, "restarts": 0}):
        with start(**vllm) as job:
            while turns(journal) < begun.count(b'"feedback"') + 4:
                assert job.poll() is None, job.stderr.read()
                time.sleep(0.01)
            job.send_signal(signal.SIGKILL)
        kept = journal.read_bytes()
        assert kept.startswith(begun)
        begun = kept[: kept.rindex(b"\n") + 1]
