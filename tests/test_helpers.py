"""Programs of a job that run elsewhere: the same results, none lost whatever befalls helpers."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from checkout import configure, copy_repository, snakemake
from conftest import CONFIG, ROOT
from waiting import wait_for

from agent.core.actions import format_action
from agent.core.environment import Execution
from agent.core.settings import section
from agent.core.timing import Stopwatch
from agent.rollout import EpisodeSettings, episode_keys, open_sandbox, play
from agent.sandbox import helping
from agent.sandbox.helped import Exchange, HelpedRunner
from agent.sandbox.helping import Helper
from agent.sandbox.opening import SandboxSettings, open_runner
from agent.sandbox.runner import WarmRunner
from agent.wrappers.scripted_policy import ScriptedPolicy, replay

SETTINGS = replace(section(CONFIG, "sandbox", SandboxSettings), modules=(), seconds=30.0)
# Each writes something of its own, prints it, or fails.
PROGRAMS = [
    *(
        f"import time; time.sleep(0.2); print('é', {n}); "
        f"open('submission.csv', 'wb').write(bytes([{n}, 255]))"
        for n in range(6)
    ),
    "1 / 0",
    "import os; os.symlink('/etc/passwd', 'submission.csv')",
]
SLOW = "import time; time.sleep(3); print(open('sample_submission.csv').readline())"


@pytest.fixture(scope="module")
def own() -> Iterator[WarmRunner]:
    with open_runner(SETTINGS, []) as runner:
        runner.wait_until_ready()
        yield runner


@pytest.fixture
def helped(own: WarmRunner, tmp_path: Path) -> Iterator[HelpedRunner]:
    with HelpedRunner(own, 1, SETTINGS, [], tmp_path / "offers") as runner:
        yield runner


@pytest.fixture
def start_helper(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "scripts/execute_programs.py", "--workers", "2"]
        helper = subprocess.Popen(
            [*command, "--offers", str(tmp_path / "offers"), *options],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(helper)
        return helper

    yield start
    for helper in started:
        if helper.poll() is None:
            os.killpg(helper.pid, signal.SIGKILL)
        helper.communicate()


def run_all(runner: HelpedRunner, programs: list[str], public: Path) -> list[Execution]:
    with ThreadPoolExecutor(len(programs)) as pool:
        return list(pool.map(lambda program: runner.run(program, public), programs))


def untimed(executions: list[Execution]) -> list[Execution]:
    return [replace(execution, seconds=0.0) for execution in executions]


def test_what_helpers_run_ends_as_it_does_here(own, helped, start_helper, wine):
    here = [own.run(program, wine.public) for program in PROGRAMS]
    assert {execution.outcome for execution in here} == {"ok", "crashed"}
    start_helper()
    wait_for(
        lambda: (
            helped._helped
            or (bool(run_all(helped, PROGRAMS[:2], wine.public)[0].seconds) and helped._helped > 0)
        )
    )
    before = helped._helped
    elsewhere = run_all(helped, PROGRAMS * 3, wine.public)
    assert untimed(elsewhere) == untimed(here * 3)
    assert before + 5 < helped._helped < before + len(PROGRAMS * 3)  # both took their part


def test_without_helpers_all_runs_here(helped, wine):
    assert [one.outcome for one in run_all(helped, PROGRAMS, wine.public)] == ["ok"] * 6 + [
        "crashed",
        "ok",
    ]
    assert helped._helped == 0


def test_a_killed_helper_loses_no_program(helped, start_helper, wine):
    helper = start_helper()
    with ThreadPoolExecutor(4) as pool:
        running: list[Future[Execution]] = []

        def given() -> bool:
            running.append(pool.submit(helped.run, SLOW, wine.public))
            time.sleep(0.3)
            return len(helped._connections) == 2 and not helped._waiting

        wait_for(given)
        os.killpg(helper.pid, signal.SIGKILL)
        assert {one.result().outcome for one in running} == {"ok"}


def test_who_does_not_know_the_key_is_given_nothing(helped, wine, tmp_path):
    (offer,) = (tmp_path / "offers").glob("*.json")
    assert offer.stat().st_mode & 0o777 == 0o600
    address = tuple(json.loads(offer.read_text())["address"])
    for greeting in (b'{"key": "guessed"}\n', b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b"x" * 10000):
        with socket.create_connection(address, 5) as stranger:
            stranger.sendall(greeting)
            with suppress(ConnectionResetError):
                assert stranger.recv(100) == b""
    assert helped.run("print(1)", wine.public).output == "1\n"


def test_an_answer_that_is_none_is_not_taken(helped, wine, tmp_path):
    (offer,) = (tmp_path / "offers").glob("*.json")
    known = json.loads(offer.read_text())
    blocked = threading.Thread(target=helped.run, args=(SLOW, wine.public))
    blocked.start()
    wait_for(lambda: not helped._waiting)
    with closing(Exchange(socket.create_connection(tuple(known["address"]), 5))) as confused:
        confused.tell({"key": known["key"]})
        assert confused.hear()["confinement"] == helped.confinement
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(helped.run, "print(2)", wine.public)
            confused.tell({"ready": True})
            assert confused.hear()["program"] == "print(2)"
            confused.tell({"outcome": "ok"})
            assert asked.result().output == "2\n"  # once this machine is free
    blocked.join()


def test_a_helper_ends_when_nobody_has_work(helped, start_helper, wine, tmp_path):
    with socket.create_server(("localhost", 0)) as server:
        address = list(server.getsockname())
    left = tmp_path / "offers/left-by-a-killed-job.json"
    left.write_text(json.dumps({"address": address, "key": ""}))
    (tmp_path / "offers/half-written.json").write_text('{"address": ["localhost"')
    helper = start_helper("--idle-seconds", "2")
    printed, errors = helper.communicate(timeout=60)
    assert helper.returncode == 0, errors
    assert printed.endswith("0 programs executed\n")
    assert not left.exists()


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        ("likeness", "that job has other, but this is Python 3"),
        ("confinement", "that job confines programs by other, this machine by"),
    ],
)
def test_unlike_machines_do_not_help(monkeypatch, helped, tmp_path, fact, told):
    if fact == "likeness":
        helped._facts[fact] = "other"
    else:
        monkeypatch.setattr(HelpedRunner, "confinement", "other")
        monkeypatch.setattr(type(helped._own), "confinement", "other")
        monkeypatch.setattr(helping, "open_runner", _Confined)
    with pytest.raises(RuntimeError, match=told):
        Helper(tmp_path / "offers").help(1, 30.0, threading.Event())


class _Confined:
    """A runner of another machine."""

    confinement = "none at all"

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> "_Confined":
        return self

    def __exit__(self, *_: object) -> None: ...


def test_a_folder_that_the_helper_does_not_see_is_its_own_error(helped, start_helper, tmp_path):
    folder = tmp_path / "public"
    folder.mkdir()
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(helped.run, "import time; time.sleep(8)", folder)
        wait_for(lambda: not helped._waiting)
        helper = start_helper()
        wait_for(lambda: bool(helped._connections))
        moved = folder.rename(tmp_path / "moved")
        with ThreadPoolExecutor(1) as other:
            asked = other.submit(helped.run, "print(3)", folder)
            _, errors = helper.communicate(timeout=60)
            assert helper.returncode == 1 and errors.startswith("error: ")
            assert str(folder) in errors
            moved.rename(folder)
            assert asked.result().output == "3\n"
        blocked.result()


def test_the_end_of_a_job_leaves_nobody_waiting(own, tmp_path, wine):
    with ThreadPoolExecutor(3) as pool:
        with HelpedRunner(own, 1, SETTINGS, [], tmp_path) as helped:
            running = [pool.submit(helped.run, SLOW, wine.public) for _ in range(3)]
            wait_for(lambda: len(helped._waiting) == 2)
        assert list(tmp_path.iterdir()) == []
        assert running[0].result().outcome == "ok"  # it had begun
        for waiting in running[1:]:
            with pytest.raises(RuntimeError, match="closed while a program was running"):
                waiting.result()


def test_episodes_are_the_same_with_helpers(start_helper, wine, tmp_path):
    sample = "open('submission.csv', 'w').write(open('sample_submission.csv').read())"
    script = replay([format_action("execute_code", f"{sample}; print({n})") for n in range(3)])
    episode = replace(section(CONFIG, "episode", EpisodeSettings), max_turns=3)
    settings = replace(SETTINGS, remember_programs=False)
    start_helper()
    played = []
    for offers in (None, tmp_path / "offers"):
        with open_sandbox(settings, "native", [], (), 1, offers) as sandbox:
            trajectories = play(
                ScriptedPolicy("sample", script),
                [wine] * 6,
                episode_keys(0, 0, 0, 6),
                sandbox,
                episode,
                1 if offers is None else 3,
                Stopwatch("test", "helpers"),
            )
        played.append(
            [
                (turn.observation, turn.outcome, turn.position_score)
                for trajectory in trajectories
                for turn in trajectory.turns
            ]
        )
    assert len(played[0]) == 18 and played[0] == played[1]


def test_jobs_that_play_offer_programs_when_the_study_says_so(tmp_path):
    folder = copy_repository(tmp_path)
    told = {}
    for helpers in (0, 8):
        configure(folder, "helpers", helpers)
        planned = snakemake(folder, "--dry-run", "--printshellcmds")
        assert planned.returncode == 0, planned.stderr
        told[helpers] = planned.stdout
    assert "--helpers" not in told[0]
    commands = [line for line in told[8].splitlines() if " --workers " in line]
    offering = [line for line in commands if " --helpers 8 " in line]
    scripts = {line.partition("scripts/")[2].partition(".py")[0] for line in offering}
    assert scripts == {"generate_trajectories", "evaluate"}
    assert all(" --helpers 8 " in line for line in commands if "scripts/evaluate.py" in line)
