"""The fork server: a process that has imported the libraries once and forks a child per program.

Started as `python -P zygote.py SOCKET MODULE...`. For every connection it forks a supervisor, which
runs one program after the other: it forks the program, waits for it under a wall-clock limit, kills
whatever is left of its process tree and answers with one JSON line. Supervisors stay, because
forking this much memory costs milliseconds. Zygote and supervisors import and fork, nothing else:
an OpenMP region run here would make forked children hang, so they compute nothing and own no
thread.

Limits come from setrlimit(2); orphans are caught by PR_SET_CHILD_SUBREAPER, prctl(2).
"""

import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import random
import resource
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_LIBC = ctypes.CDLL(None, use_errno=True)


def main(address: str, modules: list[str]) -> NoReturn:
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for module in modules:
        importlib.import_module(module)
    _rehearse()
    gc.collect()
    gc.freeze()  # children never scan, and so never copy, what is shared
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(128)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are reaped by the kernel
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _supervise(connection)
        connection.close()


def _rehearse() -> None:
    """Let the libraries do once what their first use does lazily: 30 ms of every child.

    Reading, writing and checking a table imports modules and scans the installed packages. Nothing
    here computes, so no thread starts.
    """
    if "pandas" in sys.modules:
        pandas = sys.modules["pandas"]
        table = pandas.concat([pandas.read_csv(io.StringIO("a,b\n1.5,x\n2.5,y\n"))])
        table.drop(columns=["b"]).fillna(0.0).to_csv(io.StringIO())
        if "sklearn" in sys.modules:
            from sklearn.utils.validation import check_X_y

            check_X_y(table[["a"]], table["a"])


def _supervise(connection: socket.socket) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
    # Blocked before any fork, so that a program that ends at once is not missed.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    for request in connection.makefile("rb"):
        connection.sendall(json.dumps(_run(connection, json.loads(request))).encode() + b"\n")
    os._exit(0)


def _run(connection: socket.socket, request: dict[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        connection.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        _become_program(request)
    status = _wait(child, started + request["seconds"])
    _kill_tree()
    return {"status": status, "seconds": time.monotonic() - started}


def _wait(child: int, deadline: float) -> int | None:
    """The child's exit status, or None when the deadline passed first."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        signal.sigtimedwait({signal.SIGCHLD}, left)


def _kill_tree() -> None:
    """Kill every descendant; daemonised ones are our children since we are their subreaper."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while True:
        for pid in children.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _become_program(request: dict[str, Any]) -> NoReturn:
    os.setsid()
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.chdir(request["folder"])
    _redirect(request["output"])
    _limit(request)
    sys.argv = ["program.py"]
    sys.path.insert(0, "")
    _seed(0)
    code = 1  # also when reporting the error fails
    try:
        program = compile(request["program"], "program.py", "exec")
        exec(program, {"__name__": "__main__", "__file__": "program.py"})
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException as error:
        _report(error)
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)


def _redirect(output: str) -> None:
    """Standard streams go to one file, so that nothing the program starts can hold a pipe open."""
    target = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.closerange(3, 256)
    sys.stdout = os.fdopen(1, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)


def _limit(request: dict[str, Any]) -> None:
    cpu = int(request["seconds"]) + 1
    for limit, value in (
        (resource.RLIMIT_AS, request["memory_mb"] << 20),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, request["file_mb"] << 20),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _seed(seed: int) -> None:
    """A program that draws without a seed of its own still is a function of its text."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)


def _report(error: BaseException) -> None:
    """The traceback from the program's own first line on, then a line the runner can read."""
    report = traceback.TracebackException.from_exception(error)
    link: traceback.TracebackException | None = report
    while link:
        own = [frame for frame in link.stack if frame.filename == "program.py"]
        link.stack = traceback.StackSummary.from_list(own)
        link = link.__cause__ or link.__context__
    lines = "".join(report.format())
    message = str(error).strip().split("\n")[0][:500]
    sys.stderr.write(f"{lines}\n{ERROR_MARK}{type(error).__name__}: {message}\n")


ERROR_MARK = "program error: "

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
