"""The Linux calls that Python 3.11 does not wrap. Section 2 of the manual documents each of them.

Importing this costs a dlopen and starts no thread, so the fork server may do it.
"""

import ctypes
import os
import struct
import time
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)

# prctl(2)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP = 1, 4, 24
PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 22, 36, 38
# unshare(2)
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
# mount(2), umount2(2)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_PRIVATE = 1024, 2048, 4096, 16384, 1 << 18
MS_RELATIME = 1 << 21
MNT_DETACH = 2
_CAPABILITIES = 41  # capabilities(7), as of Linux 6.18; unknown ones are refused and not held
CAP_SYS_ADMIN = 21


def prctl(option: int, argument: Any = 0, third: Any = 0) -> None:
    _check(LIBC.prctl(option, argument, third, 0, 0), f"prctl {option}")


def unshare(flags: int) -> None:
    _check(LIBC.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    call = LIBC.mount(
        source.encode(),
        target.encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    _check(call, f"mount {kind or source} on {target}")


def unmount(target: str) -> None:
    _check(LIBC.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def enter_root(folder: str) -> None:
    """Make `folder`, a mount point, the root of this mount namespace and let the old one go."""
    os.chdir(folder)
    _check(LIBC.pivot_root(b".", b"."), "pivot_root")  # the idiom of pivot_root(2), NOTES
    unmount(".")
    os.chdir("/")


def limit_capabilities() -> None:
    """Let no later exec bring back a capability (capabilities(7), bounding set)."""
    for capability in range(_CAPABILITIES):
        LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def drop_capabilities() -> None:
    """Give up every capability."""
    header = struct.pack("=Ii", 0x20080522, 0)  # version 3, this process
    _check(LIBC.capset(header, bytes(24)), "capset")


def has_capability(number: int) -> bool:
    status = Path("/proc/self/status").read_text()
    held = int(status.partition("CapEff:")[2].split(None, 1)[0], 16)
    return bool(held >> number & 1)


def install_filter(program: bytes) -> None:
    """Put a seccomp(2) filter, compiled to classic BPF, on this process and its children.

    Needs `PR_SET_NO_NEW_PRIVS` to be set.
    """
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
    prctl(PR_SET_SECCOMP, 2, ctypes.create_string_buffer(header, len(header)))


def fork() -> int:
    """fork(2), tried again for a while when the machine has no process left to give."""
    for _ in range(100):
        try:
            return os.fork()
        except BlockingIOError:
            time.sleep(0.05)
    return os.fork()


def system_call(number: int, *arguments: Any) -> int:
    """A call that the C library does not wrap; raises OSError."""
    return _check(LIBC.syscall(ctypes.c_long(number), *arguments), f"system call {number}")


def _check(answer: int, what: str) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return answer
