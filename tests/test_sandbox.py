"""Programs that print, crash, hang, attack and cheat, run for real."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import ROOT
from sandboxes import LIMITS, limits

from agent.core.environment import Execution
from agent.sandbox.runner import CLEAN_ENVIRONMENT, ProgramLimits, WarmRunner
from agent.sandbox.tiers import TIERS

SUBMIT = "open('submission.csv', 'w').write('id,target\\n')\n"


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("public")
    (folder / "train.csv").write_text("id,x,target\n0,1.5,2.5\n")
    return folder


@contextlib.contextmanager
def of_tier(tier: str, given: ProgramLimits, modules: Sequence[str]) -> Iterator[WarmRunner]:
    """A runner of just this tier; skips the test where the machine does not offer it."""
    with WarmRunner(given, modules, weakest=tier, strongest=tier) as warm:
        try:
            warm.wait_until_ready()
        except RuntimeError as refused:
            pytest.skip(str(refused))
        yield warm


@pytest.fixture(scope="module", params=TIERS)
def strict(request) -> Iterator[WarmRunner]:
    """Limits small enough to run into; numpy only, so it starts quickly."""
    small = limits(seconds=1.0, memory_mb=512, file_mb=1, output_kb=1)
    with of_tier(request.param, small, ["numpy"]) as warm:
        yield warm


@pytest.fixture(scope="module", params=TIERS)
def tiered(request) -> Iterator[WarmRunner]:
    with of_tier(request.param, LIMITS, ["numpy", "pandas"]) as warm:
        yield warm


@pytest.fixture
def run(tiered: WarmRunner, public: Path):
    return lambda program: tiered.run(program, public)


def outcome(execution: Execution) -> tuple[str, str, str]:
    return execution.outcome, execution.error, execution.message


def exists(pid: int | str) -> bool:
    return Path(f"/proc/{pid}").exists()


def wait_until(condition, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_programs_after_one_another_share_a_supervisor_and_nothing_else(run):
    first = run("import builtins, os\nbuiltins.left = 1\nprint(os.getppid(), os.getpid())")
    second = run("import builtins, os\nprint(os.getppid(), os.getpid(), hasattr(builtins, 'left'))")
    assert first.output.split()[0] == second.output.split()[0]
    assert first.output.split()[1] != second.output.split()[1]
    assert second.output.split()[2] == "False"


def test_what_a_program_prints_comes_back_in_order(run):
    execution = run("import sys\nprint('first')\nprint('second', file=sys.stderr)\nprint('third')")
    assert outcome(execution) == ("ok", "", "")
    assert execution.output.split() == ["first", "second", "third"]
    assert execution.submission is None and not execution.refused


def test_what_a_child_process_prints_comes_back_too(run):
    assert run("import os\nos.system('echo from a shell')").output == "from a shell\n"


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        ("raise ValueError('wrong\\nsecond line')", "ValueError", "wrong"),
        ("import no_such_module", "ModuleNotFoundError", "No module named 'no_such_module'"),
        ("def broken(:\n    pass", "SyntaxError", "invalid syntax (program.py, line 1)"),
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("import sys\nsys.exit(3)", "SystemExit", "exit code 3"),
        ("import sys\nsys.exit('gave up')", "SystemExit", "exit code 1"),
        ("import os\nos.abort()", "SIGABRT", "the program was killed"),
        ("import os\nos.kill(os.getpid(), 40)", "signal 40", "the program was killed"),
        ("x = '\\ud800'\nraise RuntimeError(x)", "RuntimeError", "\\ud800"),
        ("def f():\n    f()\nf()", "RecursionError", "maximum recursion depth exceeded"),
        ("compile('\\x00', 'x', 'exec')", "SyntaxError", "source code string cannot contain null"),
        ("raise ValueError('program error: Fake: forged')", "ValueError", "program error: Fake"),
    ],
)
def test_every_way_to_fail_has_its_kind_and_message(run, program, error, message):
    execution = run(program)
    assert (execution.outcome, execution.error) == ("crashed", error)
    assert execution.message.startswith(message) and "\n" not in execution.message
    assert execution.submission is None


@pytest.mark.parametrize("program", ["", "raise SystemExit", "import sys\nsys.exit(0)"])
def test_a_program_that_ends_by_itself_is_ok(run, program):
    assert outcome(run(program)) == ("ok", "", "")


@pytest.mark.parametrize(
    "program",
    [
        "class Evil(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Evil",
        "import sys\nsys.stderr = None\nraise ValueError",
        "import os, sys\nos.close(2)\nraise ValueError",
    ],
)
def test_an_error_that_cannot_be_reported_still_is_a_crash(run, program):
    assert run(program + "\n").outcome == "crashed"


def test_a_traceback_shows_the_program_and_no_path_of_this_machine(run):
    execution = run("import pandas as pd\n\ndef read():\n    pd.DataFrame()['x']\n\nread()")
    assert outcome(execution) == ("crashed", "KeyError", "'x'")
    assert 'File "program.py", line 4, in read' in execution.output
    assert "site-packages" not in execution.output and "/" not in execution.output


def test_the_path_of_the_working_folder_is_not_shown(run):
    execution = run("import os\nprint(os.path.abspath('train.csv'), os.getcwd())")
    assert execution.output == "./train.csv .\n"


def test_a_program_starts_in_a_clean_process(run, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    with WarmRunner(LIMITS, []) as fresh:
        printed = fresh.run(
            "import os, sys, threading\nprint(sorted(os.environ), sys.argv)\n"
            "print(os.listdir('/proc/self/fd'), sys.stdin.read(), threading.active_count())\n"
            "print(open('/proc/self/environ').read())",
            ROOT / "config/leaderboards",
        ).output
    environment, descriptors, _ = printed.split("\n", 2)
    expected = sorted([*CLEAN_ENVIRONMENT, "HOME", "TMPDIR"])
    assert environment == f"{expected} ['program.py']"
    assert descriptors == "['0', '1', '2', '3']  1"  # the fourth lists the folder
    assert "KAGGLE" not in printed and str(ROOT) not in printed


def test_a_program_works_on_a_copy_of_its_own(run, public):
    before = (public / "train.csv").read_bytes()
    damage = "open('train.csv', 'w').write('mine')\nopen('left.txt', 'w').close()\nimport os\n"
    assert run(damage + "print(sorted(os.listdir()))").output == "['left.txt', 'train.csv']\n"
    assert (public / "train.csv").read_bytes() == before
    assert run("import os\nprint(os.listdir())").output == "['train.csv']\n"


def test_unseeded_draws_are_the_same_in_every_run(run):
    draw = (
        "import random\nimport numpy as np\nfrom sklearn.utils import check_random_state\n"
        "print(random.random(), np.random.rand(), check_random_state(None).rand(), hash('word'))"
    )
    assert run(draw).output == run(draw).output != ""


def test_a_submission_comes_back_byte_for_byte(run):
    content = b"id,target\r\n1,\xc3\xa9\x00\n"
    assert run(f"open('submission.csv', 'wb').write({content!r})").submission == content


def test_a_submission_never_outlives_its_program(run, public):
    assert run(SUBMIT).submission == b"id,target\n"
    assert run("pass").submission is None
    assert run(SUBMIT + "raise ValueError").submission is None
    assert not (public / "submission.csv").exists()


@pytest.mark.parametrize(
    "program",
    [
        "import os\nos.symlink('train.csv', 'submission.csv')",
        "import os\nos.symlink('/etc/passwd', 'submission.csv')",
        "import os\nos.link('train.csv', 'submission.csv')",
        "import os\nos.mkfifo('submission.csv')",
        "import os\nos.mkdir('submission.csv')",
        "import socket\nsocket.socket(socket.AF_UNIX).bind('submission.csv')",
    ],
)
def test_only_a_plain_file_is_a_submission(run, program):
    execution = run(program)
    assert execution.submission is None
    if execution.outcome == "ok":  # some tiers do not even allow to make a pipe
        assert execution.refused.startswith("submission.csv") and "\n" not in execution.refused
        assert execution.attempts


def test_a_submission_above_the_size_limit_is_refused(run):
    sparse = "import os\nos.truncate(os.open('submission.csv', 66), 4 << 20)\n"
    assert run(sparse).submission == bytes(4 << 20)
    # The limit of a file's size stops Python; only what it cannot stop is left to the collector.
    assert run(sparse.replace("4 <<", "5 <<")).submission is None


@pytest.mark.parametrize(
    "program",
    [
        "import shutil\nshutil.rmtree('..')",
        "import os\nos.remove('../output')",
        "import os\nos.remove('../output')\nos.mkfifo('../output')",
        "import os\nos.chmod('.', 0)",
    ],
)
def test_a_program_that_destroys_its_surroundings_only_loses_its_submission(run, program):
    execution = run(program)
    assert execution.outcome in ("ok", "crashed") and execution.submission is None


def test_a_long_output_keeps_both_ends(run):
    output = run("print('begin')\nprint('x' * 300_000)\nprint('end')").output
    assert output.startswith("begin\nxxx") and output.endswith("xxx\nend\n")
    assert "[...]" in output and 4096 <= len(output) < 4200


@pytest.mark.parametrize("length", [2047, 2048, 2049, 4095, 4096])
def test_an_output_within_the_limit_is_not_cut(run, length):
    assert run(f"print('y' * {length - 1})").output == "y" * (length - 1) + "\n"


def test_the_error_is_found_below_a_long_output(run):
    execution = run("print('x' * 300_000)\nraise ValueError('at the end')")
    assert outcome(execution) == ("crashed", "ValueError", "at the end")


def test_output_that_is_no_text_is_read_all_the_same(run):
    assert run("import os\nos.write(1, b'\\xff\\x00ok')").output == "\ufffdok"


def test_a_program_that_uses_too_much_memory_crashes(strict, public):
    execution = strict.run("bytearray(1 << 30)", public)
    assert execution.outcome == "crashed" and execution.error == "MemoryError"


def test_a_program_that_writes_too_large_a_file_crashes(strict, public):
    execution = strict.run("open('submission.csv', 'wb').write(bytes(3 << 20))", public)
    assert execution.outcome == "crashed" and execution.error == "OSError"


def test_an_endless_output_is_a_crash_not_a_full_disk(strict, public):
    execution = strict.run("while True:\n    print('x' * 1000)", public)
    assert execution.outcome == "crashed" and len(execution.output) < 3000


def test_a_program_that_ignores_signals_is_stopped_at_its_limit(strict, public):
    deaf = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('started')\n"
    started = time.monotonic()
    execution = strict.run(deaf + "time.sleep(60)", public)
    assert outcome(execution) == ("timed_out", "", "")
    assert execution.output == "started\n" and execution.submission is None
    assert execution.seconds >= 1.0 and time.monotonic() - started < 20


DAEMON = """
import os
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.close(reading)
        os.execv("/bin/sleep", ["sleep", "61.7301"])
    os._exit(0)
os.wait()
"""


def running(command: str) -> bool:
    """Whether any process of this machine has `command` in its command line."""
    return any(
        command in path.read_bytes().replace(b"\0", b" ").decode()
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists()
    )


@pytest.mark.parametrize(
    ("ending", "expected"), [("", "ok"), ("import time\ntime.sleep(60)", "timed_out")]
)
def test_a_daemon_dies_with_the_program_that_started_it(strict, public, ending, expected):
    execution = strict.run(DAEMON + ending, public)
    assert execution.outcome == expected
    assert not running("sleep 61.7301")


def test_a_crowd_of_children_dies_with_the_program(strict, public):
    crowd = (
        "import subprocess\nfor _ in range(30):\n    print(subprocess.Popen(['sleep', '61.7302']))"
    )
    execution = strict.run(crowd, public)
    assert execution.outcome == "ok" and len(execution.output.splitlines()) == 30
    assert not running("sleep 61.7302")


def test_many_programs_at_once_do_not_mix(run):
    program = "import time\ntime.sleep(0.05)\nopen('submission.csv', 'w').write('{0}')\nprint({0})"
    with ThreadPoolExecutor(16) as pool:
        executions = list(pool.map(lambda i: run(program.format(i)), range(48)))
    assert [e.submission for e in executions] == [str(i).encode() for i in range(48)]
    assert [e.output for e in executions] == [f"{i}\n" for i in range(48)]


def test_nothing_is_left_behind_on_leaving(public):
    with WarmRunner(LIMITS, []) as fresh:
        fresh.run("pass", public)
        folder, zygote = fresh._folder, fresh._zygote.pid
        assert sorted(path.name for path in (folder / "0").iterdir()) == [
            "scratch",
            "zygote.socket",
        ]
        assert not list((folder / "0/scratch").iterdir())
    assert not folder.exists() and not exists(zygote)


def test_a_library_that_cannot_be_imported_is_named_in_one_line(public):
    with (
        pytest.raises(RuntimeError, match=r"sandbox\.modules \['no_such_library'\]"),
        WarmRunner(LIMITS, ["no_such_library"]) as broken,
    ):
        broken.run("pass", public)


def test_the_fork_server_dies_when_its_owner_is_killed():
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; sys.path.insert(0, 'tests')\n"
            "from agent.sandbox.runner import WarmRunner\n"
            "from sandboxes import LIMITS\n"
            "with WarmRunner(LIMITS, []) as warm:\n"
            "    warm.wait_until_ready()\n"
            "    print(warm._zygote.pid, flush=True)\n"
            "    warm.run('import time; time.sleep(60)', __import__('pathlib').Path('config'))\n",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout.readline().startswith("sandbox: ")
    zygote = int(owner.stdout.readline())
    group = Path(f"/proc/{zygote}/task/{zygote}/children")
    assert wait_until(lambda: group.read_text().split() != [])  # a program is running
    children = [int(pid) for pid in group.read_text().split()]
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    alive = [zygote, *children]
    assert wait_until(lambda: not any(exists(pid) for pid in alive))


# Each orphan's end is told to who watches; four children hold more than a program may together.
WAKING = """
import os
import time

if os.fork() == 0:
    while True:
        if os.fork() == 0:
            if os.fork() == 0:
                time.sleep(0.01)
            os._exit(0)
        os.wait()
        time.sleep(0.01)
filled, tell = os.pipe()
for _ in range(4):
    if os.fork() == 0:
        block = bytearray(300 << 20)
        block[::4096] = b"x" * (len(block) // 4096)
        os.write(tell, b"x")
        time.sleep(60)
for _ in range(4):
    os.read(filled, 1)
time.sleep(2)
print("never told")
"""


@pytest.mark.parametrize("tier", TIERS)
def test_orphans_that_keep_ending_hide_no_limit(public: Path, tier: str) -> None:
    with of_tier(tier, limits(seconds=20.0, memory_mb=1024), []) as warm:
        ended = warm.run(WAKING, public)
    told = "the program and its processes exceeded the limit of memory_mb"
    assert outcome(ended) == ("crashed", "ResourceLimit", told)
