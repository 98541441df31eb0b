"""Locks and queues of multiprocessing in the tier whose programs have no /dev/shm of their own."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from sandboxes import LIMITS

from agent.sandbox import semaphores
from agent.sandbox.runner import WarmRunner
from agent.sandbox.semaphores import SemLock

RECURSIVE, COUNTING = 0, 1


@pytest.fixture(scope="module", params=["warm", "cold"])
def runner(request: pytest.FixtureRequest) -> Iterator[WarmRunner]:
    tier = "landlock"
    with WarmRunner(LIMITS, ["numpy"], weakest=tier, strongest=tier, start=request.param) as made:
        try:
            made.wait_until_ready()
        except RuntimeError as refused:
            pytest.skip(str(refused))
        yield made


def lock(kind: int = COUNTING, value: int = 1, most: int = 1) -> SemLock:
    return SemLock(kind, value, most, "/mp-test", True)


def in_thread(call) -> object:
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    thread.join()
    return answers[0]


def ended_well(child: int) -> bool:
    return os.waitpid(child, 0)[1] == 0


PROGRAMS = {
    "exact count of two processes": (
        """
        def add(lock, counter):
            for _ in range(2000):
                with lock:
                    counter.value += 1

        lock, counter = mp.Lock(), mp.Value("i", 0, lock=False)
        workers = [mp.Process(target=add, args=(lock, counter)) for _ in range(2)]
        [worker.start() for worker in workers]
        [worker.join() for worker in workers]
        print(counter.value)
        """,
        "4000",
    ),
    "pool": (
        """
        with mp.Pool(2) as pool:
            print(pool.map(abs, range(-3, 0)))
        """,
        "[3, 2, 1]",
    ),
    "queue": (
        """
        queue = mp.Queue(2)
        mp.Process(target=lambda: [queue.put(i) for i in range(4)]).start()
        print([queue.get(timeout=5) for _ in range(4)], queue.empty())
        """,
        "[0, 1, 2, 3] True",
    ),
    "condition and event": (
        """
        def wait():
            with condition:
                ready.set()
                condition.wait(5)
            done.release()

        condition, ready, done = mp.Condition(), mp.Event(), mp.Semaphore(0)
        mp.Process(target=wait).start()
        ready.wait(5)
        with condition:
            condition.notify()
        print(done.acquire(timeout=5), done.acquire(timeout=0.01), repr(done), repr(mp.Lock()))
        """,
        "True False <Semaphore(value=0)> <Lock(owner=None)>",
    ),
    "bounded": (
        """
        bounded = mp.BoundedSemaphore(1)
        try:
            bounded.release()
        except ValueError as error:
            print(error)
        """,
        "semaphore or lock released too many times",
    ),
    "arrays": (
        """
        array = mp.Array("d", 3)
        child = mp.Process(target=array.__setitem__, args=(1, 2.5))
        child.start()
        child.join()
        print(array[:])
        """,
        "[0.0, 2.5, 0.0]",
    ),
    "names for new interpreters are refused": (
        """
        try:
            mp.get_context("spawn").Lock()
        except OSError as error:
            print(error)
        """,
        "[Errno 38] Function not implemented",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_synchronize_their_processes(runner: WarmRunner, tmp_path: Path, name: str):
    program, expected = PROGRAMS[name]
    execution = runner.run("import multiprocessing as mp\n" + dedent(program), tmp_path)
    assert (execution.outcome, execution.output.strip()) == ("ok", expected)
    assert not execution.attempts


def test_joblib_works_without_its_processes(runner: WarmRunner, tmp_path: Path):
    program = """
    from joblib import Parallel, delayed
    print(Parallel(n_jobs=2)(delayed(abs)(i) for i in (-1, 2)))
    """
    assert runner.run(dedent(program), tmp_path).output == "[1, 2]\n"


def test_a_lock_is_taken_once_and_not_waited_for():
    one = lock()
    assert one.acquire() and one._is_mine() and one._count() == 1 and one._is_zero()
    assert not one.acquire(False) and not one.acquire(True, -1.0)
    started = time.monotonic()
    assert not one.acquire(timeout=0.05)
    assert 0.04 < time.monotonic() - started < 1.0
    assert in_thread(one._is_mine) is False
    in_thread(one.release)  # as with any semaphore, by whomever
    assert one._get_value() == 1
    with pytest.raises(ValueError, match="too many times"):
        one.release()


def test_a_recursive_lock_belongs_to_its_thread():
    one = lock(RECURSIVE)
    with one:
        assert one.acquire() and one._count() == 2
        assert in_thread(lambda: one.acquire(False)) is False
        one.release()
        assert one._is_mine()
    assert in_thread(lambda: one.acquire(False)) is True
    with pytest.raises(AssertionError, match="not owned by thread"):
        one.release()


def test_a_forked_process_shares_the_value_and_holds_nothing():
    one = lock(RECURSIVE)
    with one:
        child = os.fork()
        if child == 0:
            one._after_fork()
            os._exit(0 if one.acquire(timeout=10) else 1)
        time.sleep(0.05)
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    assert ended_well(child)
    assert one._is_zero()  # the child took it and did not give it back


def test_threads_lose_no_count():
    one, total = lock(), [0]

    def add() -> None:
        for _ in range(2000):
            with one:
                total[0] = total[0] + 1

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert total == [6000] and one._count() == 0 and one._get_value() == 1


def test_signals_are_handled_while_waiting():
    one, heard = lock(value=0), []
    before = signal.signal(signal.SIGALRM, lambda *_: (heard.append(1), one.release()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert one.acquire(timeout=10)  # given free by the handler
    finally:
        signal.signal(signal.SIGALRM, before)
    assert heard == [1]


def test_an_interrupt_ends_the_waiting():
    waiting = dedent(
        """
        import signal, sys
        from agent.sandbox.semaphores import SemLock
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by jobs in background
        one = SemLock(1, 0, 1, "/mp-test", True)
        print("waiting", flush=True)
        try:
            one.acquire()
        except KeyboardInterrupt:
            sys.exit(5)
        """
    )
    with subprocess.Popen([sys.executable, "-c", waiting], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(10) == 5
        finally:
            process.kill()


def test_it_refuses_what_the_original_refuses_and_what_needs_a_name():
    with pytest.raises(ValueError, match="unrecognized kind"):
        lock(kind=2)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        lock(value=SemLock.SEM_VALUE_MAX + 1)
    for name, unlink in (("/loky-1", True), ("/mp-1", False)):
        with pytest.raises(OSError) as refused:
            SemLock(COUNTING, 1, 1, name, unlink)
        assert refused.value.errno == errno.ENOSYS
    with pytest.raises(OSError):
        SemLock._rebuild(1, COUNTING, 1, "/mp-1")


def test_it_has_what_multiprocessing_uses_of_the_original():
    original = multiprocessing.Lock()._semlock  # type: ignore[attr-defined]
    used = {name for name in dir(original) if not name.startswith("__")}
    assert used <= set(dir(lock()))
    assert {"acquire", "release", "handle", "_rebuild"} <= used


def test_installing_comes_before_or_after_the_import_of_arrays():
    for first in ("import multiprocessing.heap; ", ""):
        program = (
            f"{first}from agent.sandbox import semaphores; semaphores.install(); "
            "import multiprocessing as mp; lock = mp.Value('i', 3).get_lock(); "
            "print(mp.heap.Arena._dir_candidates, type(lock._semlock) is semaphores.SemLock)"
        )
        printed = subprocess.check_output([sys.executable, "-c", program], text=True)
        assert printed == "[] True\n"
    assert semaphores.SemLock.SEM_VALUE_MAX == 2**31 - 1
