"""Noticing what a program tries beside its task, from inside its process.

An audit hook (PEP 578) cannot be removed and sees what Python code asks for before the kernel
refuses it. It detects, the other layers prevent: native code could silence it and would gain
nothing but a clean record.
"""

import mmap
import os
import sys
from typing import Any

REPORT_BYTES = 4096

# Attributes of the C library that have no place in a competitor's program.
_NATIVE = frozenset(
    """ptrace process_vm_readv process_vm_writev unshare setns mount umount2 pivot_root chroot bpf
    syscall perf_event_open userfaultfd keyctl add_key setuid setreuid setresuid kexec_load
    open_by_handle_at shmget semget msgget mq_open""".split()
)
# What libraries look at by themselves, beside what a program may read.
_HARMLESS = (
    "/proc/self/",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/",
    "/sys/",
    "/dev/",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/ssl/",
    "/etc/apache2/mime.types",
    "/etc/httpd/",
)
_PATHS = frozenset(
    ("open", "os.listdir", "os.scandir", "os.chdir", "os.truncate", "shutil.copyfile")
)
_LINKS = frozenset(("os.link", "os.symlink"))
_NETWORK = frozenset(("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"))
_PROCESSES = frozenset(("os.kill", "os.killpg", "signal.pthread_kill"))


def watch(report: mmap.mmap, allowed: tuple[str, ...]) -> None:
    """Write each kind of attempt once into `report`, one `kind: detail` a line.

    allowed: folders that the program may read or write; a path elsewhere is an attempt.
    """
    seen: set[str] = set()
    fine = (*allowed, *_HARMLESS)

    def note(kind: str, detail: object) -> None:
        line = f"{kind}: {str(detail)[:80]}".replace("\n", " ")
        if line not in seen and len(seen) < 40:
            seen.add(line)
            text = f"{line}\n".encode(errors="replace")
            end = report.find(b"\0")  # processes that the program forks write on
            if 0 <= end < REPORT_BYTES - len(text):
                report[end : end + len(text)] = text

    def outside(path: Any) -> bool:
        if isinstance(path, int) or path is None:
            return False
        full = os.path.abspath(os.fsdecode(path))  # noqa: PTH100, follows no link, opens nothing
        return not (full + "/").startswith(fine) and full != "/"

    def is_private_socket(event: str, arguments: tuple[Any, ...]) -> bool:
        """Whether this is a file in the program's own folders, as multiprocessing makes them."""
        address = arguments[1] if event != "socket.getaddrinfo" else None
        return (
            isinstance(address, str | bytes)
            and not outside(address)
            and not os.fsdecode(address).startswith("\0")
        )

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _PATHS:
            if outside(arguments[0]):
                note("path", os.fsdecode(arguments[0]))
        elif event in _LINKS:
            if outside(arguments[0]):
                note("link", os.fsdecode(arguments[0]))
        elif event in _NETWORK:
            if not is_private_socket(event, arguments):
                note("network", event)
        elif event in _PROCESSES:
            if not _is_own(arguments[0]):
                note("signal", event)
        elif event == "ctypes.dlsym" and arguments[1] in _NATIVE:
            note("system call", arguments[1])

    sys.addaudithook(hook)


def _is_own(process: int) -> bool:
    """Whether a process is of the session that the program began, as its children are."""
    try:
        return process == 0 or (process > 0 and os.getsid(process) == os.getsid(0))
    except OSError:
        return False
