"""One worker's keeper of programs: gives each a place and limits, runs it confined, ends its tree.

A supervisor is forked from the fork server, enters the tier's namespaces once, and then runs one
program after the other. Namespaces made anew for every program would cost more than most programs
take; instead nothing that a program leaves survives it: its processes are all killed, its file
system is unmounted, and calls that could leave anything else are refused.
"""

import json
import mmap
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import Any, NoReturn

from agent.sandbox import audit, landlock, linux, namespaces, tiers
from agent.sandbox.collector import RefusedSubmissionError, open_submission
from agent.sandbox.layers import Tier, become_program
from agent.sandbox.place import Place
from agent.sandbox.watch import ProcessTree, TreeLimits, end_tree, wait_for


@dataclass(frozen=True, slots=True)
class _Home:
    """Where this supervisor's programs live."""

    user: int | None  # to become before running a program, when root
    own_network: bool
    kill_all: bool  # whether kill(-1) reaches descendants only
    tree: ProcessTree


def supervise(connection: socket.socket, tier: Tier) -> NoReturn:
    """Runs what comes through `connection` and ends with it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    # Blocked before any fork, so that a program that ends at once is not missed.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    home = _move_in(tier, connection)
    shared = os.memfd_create("report")
    os.truncate(shared, audit.REPORT_BYTES)
    report = mmap.mmap(shared, audit.REPORT_BYTES)
    while True:
        request, descriptors = receive(connection)
        if request is None:
            os._exit(0)
        reply, submission = _run(request, descriptors, tier, home, report, shared)
        send(connection, reply, [] if submission is None else [submission])
        if submission is not None:
            os.close(submission)


def _move_in(tier: Tier, connection: socket.socket) -> _Home:
    """Enter the tier. With namespaces this returns in a new process, process 1 of its world."""
    user = tiers.FIRST_USER + os.getpid() if tier.own_user else None
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)  # the host's still shows a whole world
    if tier.name != "namespaces":
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
        scoped = tier.name == "landlock" and tier.landlock_abi >= landlock.SCOPES_ABI
        if scoped:
            landlock.keep_signals_inside()
            _check_signals_stay_inside()
        return _Home(user, False, scoped, ProcessTree(proc))
    own_network = namespaces.isolate()
    first = linux.fork()
    if first:
        connection.close()
        os.waitpid(first, 0)
        os._exit(0)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    tree = ProcessTree(proc)
    namespaces.build_view(tier.scratch, tier.readable)
    return _Home(user, own_network, os.getpid() == 1, tree)


def _check_signals_stay_inside() -> None:
    """Since kill(-1) would otherwise end everything that this user runs."""
    try:
        os.kill(os.getppid(), 0)
    except PermissionError:
        return
    raise RuntimeError("sandbox: Landlock does not keep signals inside as its version promises")


def receive(connection: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """One JSON line and the descriptors that came with it; None at the end of the connection."""
    line, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 2)
    while line and not line.endswith(b"\n"):
        more = connection.recv(1 << 16)
        if not more:
            return None, descriptors
        line += more
    return (json.loads(line) if line else None), descriptors


def send(connection: socket.socket, message: dict[str, Any], descriptors: list[int]) -> None:
    line = json.dumps(message).encode() + b"\n"
    sent = socket.send_fds(connection, [line], descriptors)
    connection.sendall(line[sent:])


def _run(
    request: dict[str, Any],
    descriptors: list[int],
    tier: Tier,
    home: _Home,
    report: mmap.mmap,
    shared: int,
) -> tuple[dict[str, Any], int | None]:
    """What became of the program, and its submission's descriptor."""
    public, output = descriptors
    limits = TreeLimits(**request["limits"])
    report[:] = bytes(len(report))
    report.seek(0)
    with Place(tier, home.user, limits) as place:
        place.fill(public)
        os.close(public)
        started = time.monotonic()
        child = linux.fork()
        if child == 0:
            become_program(
                request, output, place, tier, home.user, home.own_network, report, shared
            )
        os.close(output)
        ended = wait_for(child, home.tree, limits, place.on_disk)
        end_tree(home.kill_all, home.tree)
        seconds = time.monotonic() - started
        submission, refused = None, ""
        try:
            submission = open_submission(place.work)
        except RefusedSubmissionError as reason:
            refused = str(reason)
    return {
        "ended": ended,
        "seconds": seconds,
        "refused": refused,
        "attempts": bytes(report).rstrip(b"\0").decode(errors="replace").splitlines(),
        "folder": str(place.work),
    }, submission
