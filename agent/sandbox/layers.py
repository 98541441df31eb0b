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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from agent.sandbox import audit, landlock, linux, program, tiers

if TYPE_CHECKING:
    from agent.sandbox.place import Place

_PROGRAM, _REPORT = 3, 4  # descriptors that a new interpreter is given
_DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom"))


@dataclass(frozen=True, slots=True)
class Tier:
    """How programs are confined; what the fork server found out and was told."""

    name: str  # see `tiers`
    landlock_abi: int
    scratch: str  # a folder for the programs' places, or over which their view is built
    readable: tuple[str, ...]
    filter_inside: bytes  # of system calls, in a file system and network of its own
    filter_outside: bytes  # and in the host's
    own_user: bool  # programs run as a user of their own, which only root can arrange
    cold_source: str  # what a new interpreter runs; empty for a warm start


def become_program(
    request: dict[str, Any],
    output: int,
    place: "Place",
    tier: Tier,
    user: int | None,
    own_network: bool,
    report: mmap.mmap,
    shared: int,
) -> NoReturn:
    """Run the program of `request` in this process, all layers on. `shared` backs `report`."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    os.setsid()
    os.chdir(place.work)
    os.environ["HOME"] = os.environ["TMPDIR"] = str(place.folder)
    _arrange_descriptors(request["program"], output, shared, bool(tier.cold_source))
    _limit(request)
    if user is not None:
        tiers.drop_root(user)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which clears it
    if tier.name != "limits":
        linux.drop_capabilities()
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        if tier.landlock_abi:
            _restrict_files(place, tier)
        inside = tier.name == "namespaces" and own_network
        linux.install_filter(tier.filter_inside if inside else tier.filter_outside)
    allowed = (*tier.readable, str(place.folder), str(program.__file__))
    if tier.cold_source:
        _start_cold(tier.cold_source, allowed)
    audit.watch(report, allowed)
    program.run(request["program"])


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


def _restrict_files(place: "Place", tier: Tier) -> None:
    writable = (str(place.folder), *_DEVICES)
    if tier.name == "namespaces":  # where everything in view may be read
        landlock.restrict(("/",), (*writable, "/dev/shm"), tier.landlock_abi)
    else:
        proc = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo")
        landlock.restrict((*tier.readable, *proc), writable, tier.landlock_abi)


def _start_cold(source: str, allowed: tuple[str, ...]) -> NoReturn:
    """The same in a new interpreter, which inherits all confinement but no imported library."""
    start = (
        f"{source}\n"
        f"watch(mmap.mmap({_REPORT}, REPORT_BYTES), {allowed!r})\n"
        f"run(os.fdopen({_PROGRAM}, encoding='utf-8').read())\n"
    )
    os.execve(sys.executable, [sys.executable, "-P", "-c", start], dict(os.environ))
