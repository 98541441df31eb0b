"""The scripts as commands of their own, without the workflow."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fingerprint
import pandas as pd
import pytest
import yaml
from checkout import ROOT, SMOKE
from fingerprint import imported_files
from made_up import episode, turn

from agent.core.trajectories import write_trajectories
from agent.grading import SCORE_COLUMNS, turn_rows

SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))
Command = Callable[..., None]
# In a help text: an option, what it takes, and no word about it before its default.
UNEXPLAINED = r"(--[a-z-]+) (?:[A-Z{}|\[\]., ]|None)*\((?:required|default)"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    def run(script: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        runpy.run_path(str(ROOT / f"scripts/{script}.py"), run_name="__main__")

    return run


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_explains_every_option(
    command: Command, capsys: pytest.CaptureFixture[str], script: str
) -> None:
    with pytest.raises(SystemExit) as end:
        command(script, "--help")
    assert end.value.code == 0
    text = re.sub(r"[│╭╮╰╯─\s]+", " ", capsys.readouterr().out)
    assert re.findall(UNEXPLAINED, text) == [] and re.findall(
        UNEXPLAINED, "--x {None}|INT (default"
    )


@pytest.mark.parametrize("script", ["collect_scores", "evaluate_yardsticks", "plot_time_split"])
def test_a_fingerprint_knows_every_module_that_a_script_loads(script: str) -> None:
    program = (
        f"import runpy, sys; runpy.run_path('scripts/{script}.py')\n"
        "for name, module in sys.modules.items():\n"
        "    if name.startswith('agent.') and not module.__file__.endswith('__init__.py'):\n"
        "        print(module.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    loaded = {Path(line) for line in done.stdout.split()}
    assert loaded and loaded == imported_files(ROOT / f"scripts/{script}.py") & loaded


def test_a_fingerprint_knows_modules_that_are_imported_late() -> None:
    found = {path.name for path in imported_files(ROOT / "scripts/train_rl.py")}
    assert {"verl_wrapper.py", "verl_update.py", "verl_cpu.py", "rewards.py"} <= found
    assert not {"teacher.py", "environment.py", "local_model.py"} & found


PLAYERS = ("base_model", "generate_trajectories", "evaluate", "evaluate_yardsticks")


@pytest.mark.parametrize("script", [*PLAYERS, "evaluate_api_model"])
def test_a_fingerprint_knows_what_runs_in_children(script: str) -> None:
    """The sandbox's, and MLE-Dojo's; its agents play behind an API only."""
    children = set((ROOT / "agent").rglob("*_child.py"))
    if script in PLAYERS:
        children.remove(ROOT / "agent/wrappers/mledojo_agents_child.py")
    elsewhere = {ROOT / f"agent/sandbox/{name}.py" for name in ("__init__", "helping")}
    sandbox = {*(ROOT / "agent/sandbox").glob("*.py")} - elsewhere
    assert children and len(sandbox) > 15
    assert children | sandbox <= imported_files(ROOT / f"scripts/{script}.py")


def test_a_fingerprint_follows_the_texts_that_name_code_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    (tmp_path / "agent").mkdir()
    for name in ("full", "beside", "told"):
        (tmp_path / f"agent/{name}.py").touch()
    script = tmp_path / "agent/script.py"
    script.write_text("STARTED = ['import agent.full as it', 'beside.py', 'see told.py']")
    found = {path.stem for path in fingerprint.imported_files(script)}
    assert found == {"script", "full", "beside"}


@pytest.mark.parametrize(("staleness", "seen"), [(0, [0, 1, 2]), (1, [0, 0, 1])])
def test_training_turns_are_under_the_policy_that_played_them(
    command: Command, tmp_path: Path, staleness: int, seen: list[int]
) -> None:
    """With staleness 1 the base plays two iterations, the policy after one update the third."""
    shards = [tmp_path / f"shard{iteration}.parquet" for iteration in (1, 2, 3)]
    for iteration, shard in enumerate(shards, start=1):
        write_trajectories(shard, [episode([turn(0.5)], iteration=iteration)], {})
    evaluated = turn_rows([episode([turn(0.5)])], "trained", 0, 3, "evaluation")
    evaluated.to_csv(tmp_path / "turns.csv", index=False)
    pd.DataFrame(columns=SCORE_COLUMNS).to_csv(tmp_path / "scores.csv", index=False)
    files = ["--scores", tmp_path / "scores.csv", "--turns", tmp_path / "turns.csv"]
    made = ["--all-scores", tmp_path / "all.csv", "--all-turns", tmp_path / "all_turns.csv"]
    command("collect_scores", *files, "--shards", *shards, *made, "--staleness", staleness)
    table = pd.read_csv(tmp_path / "all_turns.csv").query("source == 'training'")
    assert table["iteration"].tolist() == seen
    assert table["policy"].tolist() == ["trained" if updates else "base" for updates in seen]


def test_playing_updating_and_evaluating_work_by_hand(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny_model: Path,
    competition_folder: Path,
) -> None:
    """With the study's whole configuration, and the base model where the study keeps it."""
    monkeypatch.chdir(tmp_path)
    base = shutil.copytree(tiny_model, "results/smoke/base_model")
    config = yaml.safe_load((ROOT / SMOKE).read_text())
    config["sampling"] |= {"context_tokens": 512, "max_new_tokens": 8}
    Path("config.yaml").write_text(yaml.safe_dump(config))
    place = ["--competitions-dir", competition_folder, "--competitions", "engel-mae-outliers"]
    options = ["--config", "config.yaml", "--num-episodes", 8, *place]
    command("generate_trajectories", "--model-name", base, *options, "--output-dir", "played")
    update = ["--trajectories-dir", "played", "--output-dir", "checkpoint"]
    command("train_rl", *update, "--config", "config.yaml")
    assert json.loads(Path("checkpoint/metrics.json").read_text())["episodes"] == 8
    command("evaluate", "--model-path", "checkpoint", *options, "--output-dir", "evaluated")
    where = ["--competitions-dir", competition_folder, "--output-dir", "evaluated"]
    command("grade_evaluation", "--episodes", "evaluated/episodes.parquet", *where)
    assert len(pd.read_csv("evaluated/scores.csv")) == 8
