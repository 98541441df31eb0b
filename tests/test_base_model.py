"""The base model: a model of the hub is fetched once, and its gate goes on after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from checkout import ROOT, configure, copy_repository, run, snakemake
from test_bad_input import settings

from agent.core.model_folder import model_digest

REVISION = "0123456789" * 4
NAMES = ["engel-mae-outliers", "wine-macro-f1-unit-errors"]


def start(config: Path, output: Path, model: Path, competitions: Path) -> "subprocess.Popen[str]":
    options = ["--config", config, "--output-dir", output, "--fetched", model]
    options += ["--competitions-dir", competitions, "--competitions", *NAMES]
    command = [sys.executable, "scripts/base_model.py", *map(str, options)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_the_gate_goes_on_after_a_kill(
    tmp_path: Path, tiny_model: Path, competition_folder: Path
) -> None:
    """Even though the model's folder is gone, as after a job of Snakemake's that failed."""
    gate = {"source": "some/model", "gate_episodes": 6, "minimum_valid_share": 0.0}
    changes = {"sampling": {"context_tokens": 8192}, "episode": {"max_turns": 40}}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings(base_model=gate, **changes)))
    given = (tiny_model, competition_folder)
    output, journal = tmp_path / "stopped", tmp_path / ".stopped.journal"

    with start(config, output, *given) as job:
        grown(journal, 20_000, job)
        job.send_signal(signal.SIGKILL)
    begun = journal.read_bytes()
    begun = begun[: begun.rindex(b"\n") + 1]
    assert 0 < begun.count(b'"feedback"') < 6 * 40
    shutil.rmtree(output)
    with start(config, output, *given) as job:
        grown(journal, len(begun) + 1, job)
        assert journal.read_bytes().startswith(begun)  # it is not played again
        assert job.wait() == 0, job.stderr.read()
    assert json.loads((output / "gate.json").read_text())["episodes"] == 6
    assert model_digest(output) == model_digest(tiny_model) and not journal.exists()


def grown(journal: Path, size: int, job: "subprocess.Popen[str]") -> None:
    """Waits until a journal has so many bytes."""
    while not (journal.is_file() and journal.stat().st_size > size):
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.005)


@contextmanager
def served_hub(model: Path) -> Iterator[tuple[str, list[str]]]:
    """A hub that has one model, with the requests for its files."""
    asked: list[str] = []
    files = {path.name: path.read_bytes() for path in model.iterdir()}

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.partition("?")[0].rpartition("/")[2]
            if "/tree/" in self.path:
                facts = [
                    {"type": "file", "path": file, "size": len(content), "oid": "0" * 40}
                    for file, content in files.items()
                ]
                self._reply(json.dumps(facts).encode(), "application/json")
            elif self.path.startswith("/api/"):
                facts = {"id": "tiny/model", "sha": REVISION}
                siblings = [{"rfilename": file} for file in files]
                self._reply(json.dumps(facts | {"siblings": siblings}).encode(), "application/json")
            else:
                asked.append(name)
                self._reply(files[name], "application/octet-stream")

        do_HEAD = do_GET

        def _reply(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{len(content):040x}"')
            self.send_header("X-Repo-Commit", REVISION)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the repository whose base model is one of the hub's."""
    copied = copy_repository(tmp_path)
    configure(copied, "base_model.source", "tiny/model")
    configure(copied, "base_model.revision", REVISION)
    return copied


def test_a_model_of_the_hub_is_fetched_once_for_all_that_start_from_it(
    folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(folder, "variants", {"short": {"episode": {"max_turns": 1}}})
    target = f"results/models/tiny/model/{REVISION}"
    with served_hub(tiny_model) as (address, asked):
        monkeypatch.setenv("HF_ENDPOINT", address)
        done = snakemake(folder, "--cores", "1", target)
    log = folder / f"results/logs/fetch_model/tiny/model/{REVISION}.log"
    assert done.returncode == 0, log.read_text()
    assert model_digest(folder / target) == model_digest(tiny_model)
    assert "model.safetensors" in asked
    done = snakemake(folder, "--dry-run", "--printshellcmds", "all")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"--fetched {target} ") == 2 and "rule fetch_model" not in done.stdout
    os.utime(folder / target)
    (folder / target / "model.safetensors").touch()
    assert "rule fetch_model" not in snakemake(folder, "--dry-run", "all").stdout


def test_a_hub_that_cannot_be_reached_leaves_nothing_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    options = ["--source", "tiny/model", "--revision", REVISION, "--output-dir"]
    done = run(
        ROOT, "python", "scripts/fetch_model.py", *options, str(tmp_path / "model"), check=False
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.count("error: ") == 1 and list(tmp_path.iterdir()) == []


def test_a_base_model_that_is_made_here_fetches_nothing(folder: Path, tiny_model: Path) -> None:
    for source in ("warm_start", str(tiny_model)):
        configure(folder, "base_model.source", source)
        done = snakemake(folder, "--dry-run", "--printshellcmds", "all")
        assert done.returncode == 0, done.stderr
        assert "fetch" not in done.stdout
