"""A server that fails, and jobs that end or are killed while it answers: nothing of it is left."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from checkout import ROOT
from served import SAMPLING, kill_server, make_interpreter, make_model, process_of
from test_bad_input import settings
from waiting import wait_for

from agent.core.model_folder import model_digest
from agent.core.play import _LAST_SECONDS
from agent.wrappers import vllm_requests
from agent.wrappers.vllm_requests import ATTEMPTS, ask
from agent.wrappers.vllm_running import RunningServer
from agent.wrappers.vllm_server import VllmServer, serving
from agent.wrappers.vllm_settings import RunningSettings, VllmSettings, check_python

REQUEST = {"prompt": [1, 2], "max_tokens": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds an interpreter, the servers' log and the file of faults, and is in their commands."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def faults(folder: Path) -> Iterator[Path]:
    """A file whose lines say what goes wrong with the next requests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAULTS", str(folder / "faults"))
        yield folder / "faults"


@pytest.fixture(scope="module")
def server(model: Path, folder: Path, faults: Path) -> Iterator[VllmServer]:
    with make(model, folder) as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_requests, "_FIRST_WAIT", 0.01)


def make(model: Path, folder: Path, **changes: object) -> VllmServer:
    facts = {"python": make_interpreter(folder), "restarts": 2, "start_seconds": 120.0, **changes}
    settings = VllmSettings(tensor_parallel=1, data_parallel=1, options=(), **facts)
    return VllmServer(model, SAMPLING.context_tokens, settings, folder / "vllm.log")


def processes(model: Path) -> list[int]:
    """All that have the model in their command: keepers and servers."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(model).encode() in (place / "cmdline").read_bytes().split(b"\0"):
                found.append(int(place.name))
    return found


def ask_together(server: VllmServer, pool: ThreadPoolExecutor, number: int) -> list[Future]:
    return [pool.submit(server.complete, REQUEST) for _ in range(number)]


def test_nobody_starts_a_server_again_that_the_job_has_stopped(model, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("FAULTS", str(tmp_path / "faults"))
    with ThreadPoolExecutor(6) as pool:
        with make(model, tmp_path) as server:
            before = server._started
            (tmp_path / "faults").write_text("hangs\n" * 6)
            asked = ask_together(server, pool, 6)
            wait_for(lambda: not (tmp_path / "faults").read_text())
        left = time.monotonic()
        for answer in asked:
            with pytest.raises(RuntimeError, match="vllm: the job is over"):
                answer.result(timeout=10)
    assert time.monotonic() - left < 15 and server._started == before == 1
    assert processes(model) == [] and "started again" not in capfd.readouterr().out


def test_a_job_that_ends_while_its_server_starts_again_waits_for_neither(model, tmp_path):
    """The new server never comes up."""
    with ThreadPoolExecutor(2) as pool:
        with make(model, tmp_path) as server:
            (tmp_path / "python").write_text("#!/bin/sh\necho instead >&2\nsleep 600\n")
            kill_server(server)
            asked = ask_together(server, pool, 2)
            wait_for(lambda: "instead" in (tmp_path / "vllm.log").read_text())
            left = time.monotonic()
        assert time.monotonic() - left < 15
        for answer in asked:
            with pytest.raises(RuntimeError, match="vllm: the job is over"):
                answer.result(timeout=10)
    assert processes(model) == []


def test_a_server_that_cannot_be_started_again_is_not_tried_by_everybody(model, tmp_path):
    with ThreadPoolExecutor(8) as pool, make(model, tmp_path) as server:
        (tmp_path / "python").write_text("#!/bin/sh\necho tried >&2\nexit 1\n")
        kill_server(server)
        for answer in ask_together(server, pool, 8):
            with pytest.raises(RuntimeError, match=r"could not start; see .*vllm\.log"):
                answer.result(timeout=60)
        with pytest.raises(RuntimeError, match="could not start"):
            server.complete(REQUEST)
    assert (tmp_path / "vllm.log").read_text().count("tried") == 1


JOB = """
import sys, time
from pathlib import Path
from test_vllm_faults import make
with make(Path(sys.argv[1]), Path(sys.argv[2])) as server:
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_job_that_is_killed_leaves_no_server(model, tmp_path):
    """Until the last of it is gone it holds what the job holds: the lock that tells of it."""
    lock = (tmp_path / "jobs.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_SH)
    os.set_inheritable(lock.fileno(), True)
    job = subprocess.Popen(
        [sys.executable, "-c", JOB, str(model), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        stdout=subprocess.PIPE,
        close_fds=False,
    )
    lock.close()
    assert job.stdout is not None and job.stdout.readline() == b"ready\n"
    own = [number for number in processes(model) if number != job.pid]
    assert len(own) == 2
    for process in own:
        held = {path.readlink() for path in Path(f"/proc/{process}/fd").iterdir()}
        assert tmp_path / "jobs.lock" in held
    job.send_signal(signal.SIGKILL)
    job.communicate()
    with (tmp_path / "jobs.lock").open("r+") as again:
        fcntl.flock(again, fcntl.LOCK_EX)  # waits
        assert processes(model) == []


def test_a_job_that_is_told_to_end_while_it_generates_ends(
    tmp_path, tiny_model, competition_folder, monkeypatch
):
    """And no thread of it starts another server, or keeps the process."""
    monkeypatch.setenv("FAULTS", str(tmp_path / "faults"))
    changes = {"sampling": {"context_tokens": 8192}, "episode": {"max_turns": 40}}
    own = {"python": make_interpreter(tmp_path), "start_seconds": 120.0, "restarts": 2}
    own |= {"tensor_parallel": 1, "data_parallel": 1, "options": []}
    config, journal = tmp_path / "config.yaml", tmp_path / ".shard0.parquet.journal"
    config.write_text(yaml.safe_dump(settings(**changes) | {"vllm": own}))
    options = ["--model-name", tiny_model, "--config", config, "--output-dir", tmp_path]
    options += ["--competitions-dir", competition_folder, "--num-episodes", "4"]
    command = [sys.executable, "scripts/generate_trajectories.py", *map(str, options)]
    command += ["--competitions", "engel-mae-outliers"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as job:
        wait_for(lambda: journal.is_file() and b"feedback" in journal.read_bytes())
        (tmp_path / "faults").write_text("hangs\n" * 4)
        wait_for(lambda: not (tmp_path / "faults").read_text())
        job.send_signal(signal.SIGURG)
        said = job.communicate(timeout=_LAST_SECONDS + 25)[1]
    assert job.returncode == 1 and "error: told to end early; finished turns are kept" in said
    log = (tmp_path / "shard0.vllm.log").read_text()
    assert processes(tiny_model) == [] and log.count("100%") == 1  # loaded once


def test_a_request_that_fails_is_sent_again_and_disturbs_nobody(server, faults):
    process = process_of(server)
    for fault in ("500", "is cut short", "is no JSON"):
        faults.write_text(f"{fault}\n" * 2)
        assert server.complete(REQUEST)["choices"]
        assert faults.read_text() == ""
    assert process_of(server) == process and server._started == 1


def test_a_request_that_always_fails_is_given_up_and_the_server_goes_on(server, faults, folder):
    process = process_of(server)
    faults.write_text("500\n" * 50)
    told = rf"a request failed {ATTEMPTS} times, .*HTTP 500: .*out of luck.*; see {folder}"
    with pytest.raises(RuntimeError, match=told):
        server.complete(REQUEST)
    assert faults.read_text().count("500") == 50 - ATTEMPTS
    faults.unlink()
    assert server.complete(REQUEST)["choices"] and process_of(server) == process


def test_a_server_that_hangs_is_started_again(model, tmp_path, monkeypatch, capfd):
    """It says that it is well, and answers others."""
    monkeypatch.setenv("FAULTS", str(tmp_path / "faults"))
    monkeypatch.setattr(ask, "__defaults__", (None, 5.0))  # instead of an hour
    with ThreadPoolExecutor(4) as pool, make(model, tmp_path, restarts=1) as server:
        (tmp_path / "faults").write_text("hangs\n" * 2)
        assert all(answer.result(60)["choices"] for answer in ask_together(server, pool, 4))
        said = capfd.readouterr().out
        assert said.count("left a request without an answer and is started again") == 1
        (tmp_path / "faults").write_text("hangs\n")
        with pytest.raises(RuntimeError, match=r"died or hung 2 times; see .*vllm\.log"):
            server.complete(REQUEST)
    assert server._started == 2


@pytest.mark.parametrize(
    ("fault", "told"), [("is cut short", "IncompleteRead"), ("is no JSON", "JSONDecodeError")]
)
def test_a_broken_reply_is_a_failure_of_the_connection(server, faults, fault, told):
    faults.write_text(f"{fault}\n")
    with pytest.raises(ConnectionError, match=f"/v1/completions: {told}"):
        ask(server._url, "/v1/completions", server._key, {"model": "policy", **REQUEST})


@pytest.fixture
def users(model: Path, folder: Path, faults: Path, monkeypatch) -> Iterator[RunningSettings]:
    """A server that runs already."""
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--host", "127.0.0.1", "--port", str(port)]
    options += ["--tensor-parallel-size", "1", "--data-parallel-size", "1"]
    arguments = serving(model, model_digest(model), SAMPLING.context_tokens)
    process = subprocess.Popen([make_interpreter(folder), "-m", *arguments, *options])
    yield RunningSettings(f"http://127.0.0.1:{port}", "VLLM_API_KEY", 60.0)
    process.kill()
    process.wait()


def test_a_running_server_is_not_asked_for_ever(users, model, faults, monkeypatch):
    with RunningServer(model, SAMPLING.context_tokens, users) as server:
        for fault in ("500", "is cut short", "is no JSON"):
            faults.write_text(f"{fault}\n")
            assert server.complete(REQUEST)["choices"]
        monkeypatch.setattr(ask, "__defaults__", (None, 1.0))  # instead of an hour
        faults.write_text("hangs\n" * 2)
        assert server.complete(REQUEST)["choices"] and faults.read_text() == ""
        faults.write_text("500\n" * 50)
        with pytest.raises(RuntimeError, match=f"a request failed {ATTEMPTS} times"):
            server.complete(REQUEST)
        assert faults.read_text().count("500") == 50 - ATTEMPTS
        faults.unlink()


def test_nobody_waits_for_a_running_server_once_the_job_is_over(model, monkeypatch):
    monkeypatch.setattr(RunningServer, "_check_logprobs", lambda server: None)
    settings = RunningSettings("http://127.0.0.1:9", None, 600.0)
    server = RunningServer(model, SAMPLING.context_tokens, settings)
    threading.Timer(1.0, lambda: server.__exit__(None, None, None)).start()
    with pytest.raises(RuntimeError, match="vllm: the job is over"):
        server.complete(REQUEST)


def test_an_interpreter_without_vllm_is_told_before_anything_starts(model, tmp_path):
    check_python(make_interpreter(tmp_path))
    for python in (sys.executable, str(tmp_path / "none"), str(tmp_path)):
        told = rf"vllm\.python: {python} is no interpreter that has vLLM: `make vllm`"
        settings = VllmSettings(python, 1, 1, 1.0, 0, ())
        server = VllmServer(model, 64, settings, tmp_path / "vllm.log")
        with pytest.raises(RuntimeError, match=told), server:
            pass
    assert not (tmp_path / "vllm.log").exists()
