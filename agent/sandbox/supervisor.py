"""One worker's keeper of programs: gives each a place and limits, runs it confined, ends its tree.

A supervisor is forked from the fork server, enters the tier's namespaces once, and then runs one
program after the other. Namespaces made anew for every program would cost more than most programs
take; instead nothing that a program leaves survives it: its processes are all killed, its file
system is unmounted, and calls that could leave anything else are refused.
"""

import json
import mmap
import os
import select
import signal
import socket
import time
from typing import Any, NoReturn

from agent.sandbox import audit, landlock, linux, namespaces, tiers
from agent.sandbox.collector import RefusedSubmissionError, open_submission
from agent.sandbox.home import Home, Tier
from agent.sandbox.layers import become_program, inside_rules
from agent.sandbox.place import Place
from agent.sandbox.watch import ProcessTree, TreeLimits, end_tree, wait_for


def supervise(connection: socket.socket, tier: Tier) -> NoReturn:
    """Runs what comes through `connection` and ends with it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    # Blocked before any fork, so that a program that ends at once is not missed.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    home, tree, kill_all = _move_in(tier, connection)
    linux.limit_capabilities()
    if tier.name != "limits":
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        linux.install_filter(tier.filters.keeper)
    shared = os.memfd_create("report")
    os.truncate(shared, audit.REPORT_BYTES)
    report = mmap.mmap(shared, audit.REPORT_BYTES)
    while True:
        request, descriptors = receive(connection)
        if request is None or _is_closed(connection):
            os._exit(0)
        reply, submission = _run(request, descriptors, home, tree, kill_all, report, shared)
        send(connection, reply, [] if submission is None else [submission])
        if submission is not None:
            os.close(submission)


def _move_in(tier: Tier, connection: socket.socket) -> tuple[Home, ProcessTree, bool]:
    """Enter the tier. With namespaces this returns in a new process, process 1 of its world.

    The last answer is whether kill(-1) reaches this process's descendants only.
    """
    user = tiers.FIRST_USER + os.getpid() if tier.own_user else None
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)  # the host's still shows a whole world
    if tier.name != "namespaces":
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
        scoped = tier.name == "landlock" and tier.landlock_abi >= landlock.SCOPES_ABI
        if scoped:
            landlock.keep_signals_inside()
            _check_signals_stay_inside()
        return Home(tier, user, False, None), ProcessTree(proc), scoped
    own_network = namespaces.isolate()
    first = linux.fork()
    if first:
        connection.close()
        os.waitpid(first, 0)
        os._exit(0)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    tree = ProcessTree(proc)
    namespaces.build_view(tier.scratch, tier.readable)
    rules = inside_rules(tier) if tier.landlock_abi else None
    return Home(tier, user, own_network, rules), tree, os.getpid() == 1


def _check_signals_stay_inside() -> None:
    """Since kill(-1) would otherwise end everything that this user runs."""
    try:
        os.kill(os.getppid(), 0)
    except PermissionError:
        return
    raise RuntimeError("sandbox: Landlock does not keep signals inside as its version promises")


def _is_closed(connection: socket.socket) -> bool:
    """Whether who asked is gone; if that was before PR_SET_PDEATHSIG, no signal tells."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


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
    home: Home,
    tree: ProcessTree,
    kill_all: bool,
    report: mmap.mmap,
    shared: int,
) -> tuple[dict[str, Any], int | None]:
    """What became of the program, and its submission's descriptor."""
    public, output = descriptors
    limits = TreeLimits(**request["limits"])
    report[:] = bytes(len(report))
    report.seek(0)
    with Place(home, limits) as place:
        work = place.fill(public, request["shared"])
        os.close(public)
        started = time.monotonic()
        child = linux.fork()
        if child == 0:
            become_program(request, output, place, home, report, shared)
        os.close(output)
        ended = wait_for(child, tree, limits, place.on_disk)
        end_tree(kill_all, tree)
        seconds = time.monotonic() - started
        submission, refused = None, ""
        try:
            submission = open_submission(work)
        except RefusedSubmissionError as reason:
            refused = str(reason)
    return {
        "ended": ended,
        "seconds": seconds,
        "refused": refused,
        "attempts": bytes(report).rstrip(b"\0").decode(errors="replace").splitlines(),
        "folder": str(place.work),
    }, submission
