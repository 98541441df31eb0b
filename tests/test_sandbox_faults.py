"""Things that go wrong around programs: each ends in time, rightly named; the next one works."""

import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import ROOT
from sandboxes import limits

from agent.sandbox.runner import WarmRunner
from agent.sandbox.tiers import TIERS

SECONDS = 4.0
FAULTS = limits(
    seconds=SECONDS,
    cpu_seconds=2.0,
    memory_mb=512,
    processes=16,
    scratch_mb=8,
    scratch_files=200,
)
CONFINED = TIERS[:2]


@pytest.fixture(scope="module", params=CONFINED)
def warm(request) -> Iterator[WarmRunner]:
    with WarmRunner(FAULTS, ["numpy"], weakest=request.param, strongest=request.param) as runner:
        try:
            runner.wait_until_ready()
        except RuntimeError as refused:
            pytest.skip(str(refused))
        yield runner


@pytest.fixture
def public(tmp_path: Path) -> Path:
    (tmp_path / "train.csv").write_text("id,target\n0,1\n")
    return tmp_path


def run_in_time(warm: WarmRunner, program: str, public: Path):
    started = time.monotonic()
    execution = warm.run(program, public)
    assert time.monotonic() - started < SECONDS + 2
    following = warm.run("print(open('train.csv').read())", public)
    assert (following.outcome, following.output) == ("ok", "id,target\n0,1\n\n")
    return execution


HUNGRY = """
import os, time
for _ in range(5):
    if os.fork() == 0:
        taken = bytearray(200 << 20)
        taken[::4096] = bytes([1]) * len(taken[::4096])
        time.sleep(60)
time.sleep(60)
"""
CROWD = "import os, time\nwhile True:\n    if os.fork() == 0:\n        time.sleep(60)\n"
SPIN = "import os\nos.fork()\nwhile True:\n    pass\n"


@pytest.mark.parametrize(
    ("program", "outcome", "limit"),
    [
        (HUNGRY, "crashed", "memory_mb"),
        (CROWD, "crashed", "processes"),
        (SPIN, "timed_out", ""),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "timed_out", ""),
        ("import os, time\nif os.fork() == 0:\n    os.setsid()\ntime.sleep(60)", "timed_out", ""),
    ],
    ids=["memory of children", "processes", "processor time", "suspended", "session of its own"],
)
def test_a_program_beyond_a_limit_ends_in_time(warm, public, program, outcome, limit):
    execution = run_in_time(warm, program, public)
    assert execution.outcome == outcome and limit in execution.message


@pytest.mark.parametrize(
    "program",
    [
        "for n in range(40):\n    open(f'b{n}', 'wb').write(bytes(1 << 20))",
        "for n in range(2000):\n    open(f'n{n}', 'w').close()",
    ],
    ids=["bytes", "files"],
)
def test_a_program_cannot_fill_more_than_its_scratch(warm, public, program):
    execution = run_in_time(warm, program + "\nimport time\ntime.sleep(60)", public)
    assert execution.outcome == "crashed"
    assert execution.error == "OSError" or "scratch" in execution.message


def test_a_new_fork_server_takes_over_when_the_old_one_is_killed(warm, public):
    os.kill(warm._zygote.pid, signal.SIGKILL)
    assert run_in_time(warm, "print(1)", public).output == "1\n"


def test_a_program_whose_fork_server_is_killed_runs_again(warm, public):
    killer = threading.Timer(0.5, lambda: os.kill(warm._zygote.pid, signal.SIGKILL))
    killer.start()
    execution = run_in_time(warm, "import time\ntime.sleep(1)\nprint('done')", public)
    assert (execution.outcome, execution.output) == ("ok", "done\n")


@pytest.mark.parametrize("garbage", [b"\xff\xfe\x00garbage\n", b"{}\n", b"[1, 2]\n", b"no end"])
def test_garbage_on_the_socket_hurts_nobody_else(warm, public, garbage):
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(warm._address)
        stranger.sendall(garbage)
    assert run_in_time(warm, "print(1)", public).output == "1\n"


def test_eight_at_once_keep_out_of_each_others_way(warm, public):
    programs = [CROWD, "print('mine')", HUNGRY, "import time\ntime.sleep(60)", "print('mine')"]
    programs += ["import os\nos.kill(-1, 9)\n", "1 / 0", "print('mine')"]
    with ThreadPoolExecutor(8) as pool:
        executions = list(pool.map(lambda program: warm.run(program, public), programs))
    outcomes = [execution.outcome for execution in executions]
    assert [outcomes[i] for i in (3, 6)] == ["timed_out", "crashed"]
    assert {outcomes[0], outcomes[2]} <= {"crashed", "timed_out"}  # whichever limit is met first
    assert [executions[i].output for i in (1, 4, 7)] == ["mine\n"] * 3
    assert run_in_time(warm, "print(1)", public).output == "1\n"


def test_a_thousand_programs_leave_nothing_behind(warm, public):
    def resources() -> tuple[int, int, int]:
        gc.collect()
        group = {
            entry.name
            for entry in Path("/proc").glob("[0-9]*")
            if _session(entry) == warm._zygote.pid
        }
        files = sum(1 for _ in warm._folder.rglob("*"))
        return len(group), len(list(Path("/proc/self/fd").iterdir())), files

    warm.run("open('left', 'w').close()", public)
    before, memory_before = resources(), _memory(warm._zygote.pid)
    for _ in range(1000):
        warm.run("open('left', 'w').close()", public)
    assert resources() == before
    assert _memory(warm._zygote.pid) < memory_before + (4 << 20)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives each program a user of its own")
def test_folders_of_a_users_own_are_removed_however_deep_they_are():
    """As a supervisor does it that may not pass on its rights to what it executes."""
    code = """
    import os, sys
    from pathlib import Path
    from agent.sandbox import linux, place, tiers

    left = Path(sys.argv[1], "left")
    left.mkdir(mode=0o700)
    os.chown(left, tiers.FIRST_USER, tiers.FIRST_USER)
    if os.fork() == 0:
        tiers.drop_root(tiers.FIRST_USER)
        os.chdir(left)
        for _ in range(3000):
            os.mkdir("d")
            os.chdir("d")
        os.chmod(left, 0)
        os._exit(0)
    os.wait()
    linux.limit_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    place._remove(left, tiers.FIRST_USER)
    """
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o711)
        command = [sys.executable, "-c", textwrap.dedent(code), scratch]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert not list(Path(scratch).iterdir())


def _session(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[3])
    except (FileNotFoundError, ProcessLookupError):
        return -1


def _memory(pid: int) -> int:
    """Private bytes of the fork server and its supervisors."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        if _session(entry) == pid:
            lines = (entry / "smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private"))
    return total
