"""Which system calls a program may not make: a seccomp(2) filter, compiled by libseccomp.

A deny-list, since numerical libraries use a great part of the others; it holds what reaches other
processes, the network, the kernel's rarely used and often broken parts, and what outlives a
program. Refused calls fail with EPERM, which libraries handle, and nothing is killed for asking.
"""

import errno
import functools
import socket
import tempfile
from typing import Any

from agent.sandbox.linux import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)

_CLONE_NEWCGROUP = 0x02000000
_NAMESPACES = (CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET)
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # type into, or paste to, a terminal (ioctl_tty(2))

REFUSED = {
    "other processes": """
        ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp
        pidfd_open pidfd_getfd pidfd_send_signal move_pages migrate_pages
        sched_setscheduler sched_setparam sched_setattr ioprio_set""",
    "namespaces and mounts": """
        unshare setns mount umount2 pivot_root chroot fsopen fsconfig fsmount fspick
        move_mount open_tree mount_setattr""",
    "parts of the kernel": """
        bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register
        add_key request_key keyctl memfd_secret vmsplice personality lookup_dcookie
        name_to_handle_at open_by_handle_at fanotify_init quotactl quotactl_fd nfsservctl
        landlock_create_ruleset""",
    "the machine": """
        kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff
        acct settimeofday clock_settime clock_adjtime adjtimex syslog iopl ioperm
        modify_ldt sethostname setdomainname vhangup""",
    "what outlives a program": """
        shmget shmat shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl
        mq_open mq_unlink mknod mknodat""",
}


# Landlock does not govern a file's mode, owner, times and attributes. In the host's file system
# these calls do nothing and report success, which copying a file relies on; the calls that take
# an open file instead of a path are free, since Landlock governed its opening.
_METADATA = """
    chmod fchmodat fchmodat2 chown lchown fchownat utime utimes futimesat utimensat
    setxattr lsetxattr removexattr lremovexattr""".split()


# What supervisors still need: they are refused to programs only.
_KEEPERS = {"mount", "umount2", "landlock_create_ruleset"}


def keeper_filter() -> bytes:
    """For supervisors and, inherited, their programs: all but what supervisors need themselves.

    Installing a filter costs time with its length, so the long one is installed once.
    """
    seccomp, rules = _start()
    for call in {call for calls in REFUSED.values() for call in calls.split()} - _KEEPERS:
        if _exists(seccomp, call):
            rules.add_rule(seccomp.ERRNO(errno.EPERM), call)
    # clone3 hides its flags in memory; libraries fall back to clone when it does not exist.
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    for flag in (*_NAMESPACES, _CLONE_NEWCGROUP):
        arguments = seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag)
        rules.add_rule(seccomp.ERRNO(errno.EPERM), "clone", arguments)
    # A process may arrange its own priorities and limits, not those of others.
    for call, position in (
        ("prlimit64", 0),
        ("sched_setaffinity", 0),
        ("setpriority", 0),
        ("setpriority", 1),
    ):
        not_own = seccomp.Arg(position, seccomp.NE, 0)
        rules.add_rule(seccomp.ERRNO(errno.EPERM), call, not_own)
    for request in (_TIOCSTI, _TIOCLINUX):
        asked = seccomp.Arg(1, seccomp.MASKED_EQ, 0xFFFFFFFF, request)
        rules.add_rule(seccomp.ERRNO(errno.EPERM), "ioctl", asked)
    return _compile(rules)


def program_filter(inside: bool) -> bytes:
    """For programs, on top of the supervisor's.

    inside: whether programs have a file system and a network of their own. Where these are the
        host's, unix sockets would lead to its daemons; connected pairs are always allowed.
    """
    seccomp, rules = _start()
    refuse = seccomp.ERRNO(errno.EPERM)
    for call in ("mount", "umount2", "landlock_create_ruleset"):
        rules.add_rule(refuse, call)
    not_unix = seccomp.Arg(0, seccomp.NE, socket.AF_UNIX)
    rules.add_rule(refuse, "socketpair", not_unix)
    if inside:
        rules.add_rule(refuse, "socket", not_unix)
    else:
        rules.add_rule(refuse, "socket")
        for call in filter(functools.partial(_exists, seccomp), _METADATA):
            rules.add_rule(seccomp.ERRNO(0), call)
    return _compile(rules)


def _start() -> tuple[Any, Any]:
    """libseccomp and an empty filter that allows everything but calls of other architectures."""
    try:
        import pyseccomp as seccomp
    except (ImportError, RuntimeError, OSError) as missing:
        raise RuntimeError(
            f"sandbox: libseccomp cannot be loaded ({missing}); install the system's package "
            f"(libseccomp2 on Debian, libseccomp on Red Hat)"
        ) from missing
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    rules.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.KILL_PROCESS)  # 32 bit and x32 calls
    # A tree instead of a list: on installing it the kernel runs it for every call that exists.
    rules.set_attr(seccomp.Attr.CTL_OPTIMIZE, 2)
    return seccomp, rules


def _compile(rules: Any) -> bytes:
    """As classic BPF for this machine's architecture."""
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _exists(seccomp: Any, call: str) -> bool:
    """Whether this architecture has the call; names newer than the library are unknown to it."""
    return bool(seccomp.resolve_syscall(seccomp.Arch.NATIVE, call) >= 0)
