"""Everything that is taken away from a process between its fork and the program's first statement.

The order is that of the manuals: what needs rights first, then the rights, then Landlock, which
still opens files, then the filter of system calls, which would refuse all of the former.
"""

import fcntl
import mmap
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from agent.sandbox import audit, landlock, linux, namespaces, program, semaphores, tiers
from agent.sandbox.home import Home, Tier
from agent.sandbox.place import Place

_PROGRAM, _REPORT = 3, 4  # descriptors that a new interpreter is given
# Without what /proc/self tells about the host: its mounts, and its connections in net.
_PROC = (
    *("/proc/cpuinfo", "/proc/meminfo"),
    *(
        f"/proc/self/{name}"
        for name in ("cmdline", "fd", "maps", "smaps", "stat", "statm", "status")
    ),
)
_DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom"))


def become_program(
    request: dict[str, Any],
    output: int,
    place: Place,
    home: Home,
    report: mmap.mmap,
    shared: int,
) -> NoReturn:
    """Run the program of `request` in this process, all layers on. `shared` backs `report`."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    os.setsid()
    os.chdir(place.work)
    os.environ["HOME"] = os.environ["TMPDIR"] = str(place.folder)
    _limit(request)
    if home.user is not None:
        tiers.drop_root(home.user)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which clears it
    if home.tier.name != "limits":
        _confine(place, home)
    _arrange_descriptors(request["program"], output, shared, bool(home.tier.cold_source))
    our_own = str(Path(program.__file__).parent)  # whoever looks at the stack quotes it
    allowed = (*home.tier.readable, str(place.folder), "/tmp", our_own)
    if home.tier.cold_source:
        _start_cold(home.tier, allowed)
    audit.watch(report, allowed)
    if home.tier.name == "landlock":
        semaphores.install()
    program.run(request["program"])


def _confine(place: Place, home: Home) -> None:
    tier = home.tier
    if home.user is None:  # becoming another user gave them up already
        linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    if home.rules is not None:
        landlock.restrict(home.rules)
    elif tier.landlock_abi:
        landlock.restrict(outside_rules(tier, str(place.folder)))
    inside = tier.name == "namespaces" and home.own_network
    linux.install_filter(tier.filters.inside if inside else tier.filters.outside)


def inside_rules(tier: Tier) -> int:
    """In a view of its own everything may be read, and the program's place be written."""
    writable = (namespaces.AROUND_PLACE, *_DEVICES)
    return landlock.make_rules(("/",), writable, tier.landlock_abi)


def outside_rules(tier: Tier, folder: str) -> int:
    """In the host's file system: the program's own folder, libraries, and itself in /proc."""
    return landlock.make_rules((*tier.readable, *_PROC), (folder, *_DEVICES), tier.landlock_abi)


def _arrange_descriptors(source: str, output: int, shared: int, cold: bool) -> None:
    """Standard streams go to one file, so that nothing the program starts can hold a pipe open."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if cold:
        text = os.memfd_create("program")
        os.write(text, source.encode())
        os.lseek(text, 0, os.SEEK_SET)
        # By way of high numbers, since the low ones may be in use.
        copies = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 16) for descriptor in (text, shared)]
        os.dup2(copies[0], _PROGRAM)
        os.dup2(copies[1], _REPORT)
    os.closerange(_REPORT + 1 if cold else _PROGRAM, 256)


def _limit(request: dict[str, Any]) -> None:
    limits = request["limits"]
    for limit, most in (
        (resource.RLIMIT_AS, limits["memory_mb"] << 20),
        (resource.RLIMIT_CPU, int(limits["cpu_seconds"]) + 1),
        (resource.RLIMIT_FSIZE, request["file_mb"] << 20),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))


def _start_cold(tier: Tier, allowed: tuple[str, ...]) -> NoReturn:
    """The same in a new interpreter, which inherits all confinement but no imported library."""
    install = "install()" if tier.name == "landlock" else ""
    start = (
        f"{tier.cold_source}\n"
        f"watch(mmap.mmap({_REPORT}, REPORT_BYTES), {allowed!r})\n"
        f"{install}\n"
        f"run(os.fdopen({_PROGRAM}, encoding='utf-8').read())\n"
    )
    os.execve(sys.executable, [sys.executable, "-P", "-c", start], dict(os.environ))
