"""A job that asked for GPUs and sees fewer ends at once, with one line."""

import json
from pathlib import Path

import pytest
import yaml
from checkout import ROOT, SMOKE, run

from agent.core.devices import check_gpus


@pytest.mark.parametrize(
    ("script", "gpus", "told"),
    [
        ("generate_trajectories", 1, "resources.rollouts.gpu: 1 on a machine were asked for"),
        ("evaluate", 1, "resources.evaluation.gpu: 1 on a machine"),
        ("base_model", 4, "resources.base_model.gpu: 4 on a machine"),
        ("train_rl", 16, "resources.update.gpu: 8 on a machine"),
    ],
)
def test_a_job_without_its_gpus_does_not_run_on_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, gpus: int, told: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    config = yaml.safe_load((ROOT / SMOKE).read_text())
    config["update"]["nodes"] = 2
    options = {"--config": json.dumps(config), "--output-dir": "made", "--gpus": gpus}
    options |= {
        "generate_trajectories": {"--model-name": "none"},
        "evaluate": {"--model-path": "none"},
        "base_model": {},
        "train_rl": {"--trajectories-dir": "none"},
    }[script]
    words = [str(word) for option in options.items() for word in option]
    done = run(ROOT, "python", f"scripts/{script}.py", *words)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"error: {told}")
    assert "but PyTorch sees 0: " in done.stderr and "--nv" in done.stderr


def test_the_python_of_a_server_counts_for_itself(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 2\n")
    python.chmod(0o755)
    check_gpus("rollouts", 2, {"python": str(python)})
    with pytest.raises(RuntimeError, match="4 on a machine were asked for, but PyTorch sees 2"):
        check_gpus("rollouts", 4, {"python": str(python)})


def test_a_server_elsewhere_has_gpus_of_its_own_and_none_are_always_there() -> None:
    check_gpus("rollouts", 8, {"url": "http://gpu-node:8000"})
    check_gpus("rollouts", 0)
