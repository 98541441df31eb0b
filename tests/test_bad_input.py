"""Commands given bad input end with one line that says what to mend, and spoil nothing."""

import json
import resource
import runpy
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tyro
import yaml
from checkout import ROOT, SMOKE, run
from tiny_model import TEXTS, TINY

from agent.core.errors import one_line_errors
from agent.core.settings import read_config
from agent.training.warm_start import new_model, save_model, train_tokenizer

Command = Callable[..., str]
PLAYED = ["engel-mae-outliers", "wine-macro-f1-unit-errors"]


def settings(**changes: dict[str, Any]) -> dict[str, Any]:
    """The smoke study's configuration for the tiny model, whose answers are short and useless."""
    config = read_config(str(ROOT / SMOKE))
    config["sampling"] |= {"context_tokens": 512, "max_new_tokens": 8}
    config["episode"] |= {"max_turns": 1}
    for section, values in changes.items():
        config[section] = config[section] | values
    return config


@pytest.fixture
def error_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a script as a command that must fail, and returns its one line."""

    def command(script: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        monkeypatch.chdir(ROOT)
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / f"scripts/{script}.py"), run_name="__main__")
        line = end.value.code
        assert isinstance(line, str), capsys.readouterr().err
        assert line.startswith("error: ") and "\n" not in line
        return line

    return command


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings()))
    return path


@pytest.fixture(scope="module")
def shards(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, competition_folder: Path
) -> Path:
    """Two shards that the tiny model played."""
    folder = tmp_path_factory.mktemp("shards")
    _, script, *options = generate(tiny_model, competition_folder, folder)
    command = runpy.run_path(str(ROOT / script))
    for shard in ("0", "1"):
        command["main"](tyro.cli(command["Arguments"], args=[*options, "--shard", shard]))
    return folder


def generate(model: Path, competitions: Path, output: Path) -> list[str]:
    options = {
        "--model-name": model,
        "--config": json.dumps(settings()),
        "--num-episodes": 4,
        "--competitions-dir": competitions,
        "--output-dir": output,
    }
    words = [word for option in options.items() for word in map(str, option)]
    return ["python", "scripts/generate_trajectories.py", *words, "--competitions", *PLAYED]


def update(shards: Path, config: Path, model: Path, output: Path) -> list[str]:
    options = {
        "--trajectories-dir": shards,
        "--config": config,
        "--base-model": model,
        "--output-dir": output,
    }
    return [word for option in options.items() for word in map(str, option)]


def write_model(folder: Path, **changes: int) -> Path:
    """A model like the tiny one but for these changes."""
    settings = replace(TINY, **changes)
    tokenizer = train_tokenizer(TEXTS, settings.vocabulary)
    save_model(new_model(tokenizer, settings), tokenizer, folder)
    return folder


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


WRONG_SETTINGS = {
    "type": ({"sampling": {"temperature": "hot"}}, "sampling.temperature must be float"),
    "unknown key": ({"sampling": {"heat": 1}}, "sampling has unknown or missing keys ['heat']"),
    "no room": ({"sampling": {"context_tokens": 16}}, "the prompt must fit into context_tokens"),
}


@pytest.mark.parametrize("name", WRONG_SETTINGS)
def test_wrong_settings_are_named(
    error_of: Command, tmp_path: Path, tiny_model: Path, competition_folder: Path, name: str
) -> None:
    changes, message = WRONG_SETTINGS[name]
    _, script, *words = generate(tiny_model, competition_folder, tmp_path / "out")
    words[words.index("--config") + 1] = json.dumps(settings(**changes))
    assert message in error_of(Path(script).stem, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("ppo: [", "cannot be read"), ("- 1", "must hold sections"), ("study: x", "is missing")],
)
def test_a_file_that_is_no_configuration_is_named(
    error_of: Command, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    options = ["--config", path, "--model-path", tmp_path, "--output-dir", tmp_path / "out"]
    assert message in error_of("evaluate", *options)
    assert f"no file {tmp_path / 'none.yaml'}" in error_of(
        "evaluate", "--config", tmp_path / "none.yaml", *options[2:]
    )


def test_a_missing_model_is_named(
    error_of: Command, config: Path, tmp_path: Path, competition_folder: Path
) -> None:
    place = ["--competitions-dir", competition_folder, "--competitions", PLAYED[0]]
    options = ["--config", config, "--output-dir", tmp_path / "out", *place]
    missing = tmp_path / "none"
    for script, option in (("generate_trajectories", "--model-name"), ("evaluate", "--model-path")):
        line = error_of(script, option, missing, *options)
        assert f"{missing} is not a Hugging Face model folder" in line


def test_an_unknown_competition_is_named(
    error_of: Command, config: Path, tmp_path: Path, tiny_model: Path, competition_folder: Path
) -> None:
    options = ["--config", config, "--output-dir", tmp_path / "out", "--model-path", tiny_model]
    line = error_of(
        "evaluate", *options, "--competitions-dir", competition_folder, "--competitions", "nonsense"
    )
    assert "nonsense" in line and "prepare" in line
    line = error_of(
        "prepare_competition",
        *("--competition", "nonsense", "--output-dir", tmp_path / "x", "--leaderboard", "none.csv"),
    )
    assert "'nonsense' is not in the suite" in line


def test_a_competition_changed_by_hand_is_named(
    error_of: Command, config: Path, tmp_path: Path, tiny_model: Path, competition_folder: Path
) -> None:
    name = PLAYED[0]
    shutil.copytree(competition_folder / name, tmp_path / name)
    test = tmp_path / name / "data/public/test.csv"
    test.write_text(test.read_text().replace("1", "2"))
    line = error_of(
        "evaluate",
        *("--config", config, "--output-dir", tmp_path / "out", "--model-path", tiny_model),
        *("--competitions-dir", tmp_path, "--competitions", name),
    )
    assert f"{test}: checksum differs" in line


def truncate(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])


def damage(shard: Path) -> None:
    """One wrong byte in the middle of a column."""
    column = pq.ParquetFile(shard).metadata.row_group(0).column(9)
    content = bytearray(shard.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 0xFF
    shard.write_bytes(content)


SPOILED: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (truncate, "damaged trajectory file"),
    "damaged": (damage, "damaged trajectory file"),
    "empty": (lambda shard: shard.write_bytes(b""), "damaged trajectory file"),
    "missing": (Path.unlink, "no such trajectory file"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_shard_stops_the_update_and_is_named(
    error_of: Command, tmp_path: Path, shards: Path, config: Path, tiny_model: Path, name: str
) -> None:
    spoil, message = SPOILED[name]
    folder = shutil.copytree(shards, tmp_path / "shards")
    spoil(folder / "shard1.parquet")
    before = files(folder)
    options = update(folder, config, tiny_model, tmp_path / "checkpoint")
    line = error_of("train_rl", *options, "--num-shards", 2)
    assert f"{folder / 'shard1.parquet'}: {message}" in line
    assert files(folder) == before and not (tmp_path / "checkpoint").exists()


def test_an_iteration_without_shards_is_named(
    error_of: Command, tmp_path: Path, config: Path, tiny_model: Path
) -> None:
    line = error_of("train_rl", *update(tmp_path, config, tiny_model, tmp_path / "checkpoint"))
    assert f"{tmp_path}: holds no trajectory shard" in line


def test_a_configuration_without_a_study_needs_the_base_model_named(
    error_of: Command, tmp_path: Path, shards: Path, config: Path, tiny_model: Path
) -> None:
    config.write_text(yaml.safe_dump({"ppo": {}, "rewards": {}}))
    options = update(shards, config, tiny_model, tmp_path / "checkpoint")
    at = options.index("--base-model")
    assert "--base-model is missing" in error_of("train_rl", *options[:at], *options[at + 2 :])


def test_shards_of_another_model_are_refused(
    error_of: Command, tmp_path: Path, shards: Path, config: Path
) -> None:
    other = write_model(tmp_path / "other", vocabulary=400)
    line = error_of("train_rl", *update(shards, config, other, tmp_path / "checkpoint"))
    assert f"{other}: is policy " in line and "play them anew" in line
    assert not (tmp_path / "checkpoint").exists()


def test_a_previous_checkpoint_of_another_architecture_is_refused(
    error_of: Command, tmp_path: Path, shards: Path, config: Path, tiny_model: Path
) -> None:
    previous = tmp_path / "previous"
    write_model(previous / "model", layers=1)
    options = update(shards, config, tiny_model, tmp_path / "checkpoint")
    line = error_of("train_rl", *options, "--previous", previous)
    assert f"{previous / 'model/config.json'}: num_hidden_layers is 1, but 2" in line


def test_a_checkpoint_is_never_overwritten(
    error_of: Command, tmp_path: Path, shards: Path, config: Path, tiny_model: Path
) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint/precious").write_text("result")
    line = error_of("train_rl", *update(shards, config, tiny_model, tmp_path / "checkpoint"))
    assert f"{tmp_path / 'checkpoint'} is not empty" in line
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["precious"]


def test_a_full_disk_is_named_and_leaves_nothing_half_written(
    tmp_path: Path, shards: Path, config: Path, tiny_model: Path, competition_folder: Path
) -> None:
    folder = shutil.copytree(shards, tmp_path / "results")
    before = files(folder)
    options = update(folder, config, tiny_model, folder / "checkpoint")
    commands = {
        ".shard0.parquet.journal": (generate(tiny_model, competition_folder, folder), 2_000),
        "checkpoint": (["python", "scripts/train_rl.py", *options], 50_000),
    }
    for written, (command, limit) in commands.items():
        done = run(ROOT, *command, preexec_fn=limited_to(limit))
        assert done.returncode == 1 and "Traceback" not in done.stderr
        line = done.stderr.splitlines()[-1]
        assert line.startswith(f"error: {folder / written}: cannot be written: ")
        assert files(folder) == before or written.endswith("journal")  # its whole lines are kept
        (folder / written).unlink(missing_ok=True)
        assert files(folder) == before


def limited_to(size: int) -> Callable[[], None]:
    """As if the disk were full once a file has `size` bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_defect_keeps_its_traceback() -> None:
    for defect in (KeyError("k"), TypeError("t"), ValueError("raised outside this project")):
        with pytest.raises(type(defect)), one_line_errors():
            raise defect
