"""What a program's whole process tree uses, from proc(5), and ending that tree.

Limits of setrlimit(2) hold for one process; sums over all its descendants are watched from outside.
"""

import contextlib
import math
import os
import resource
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_INTERVAL = 0.05  # s between two looks: what may be exceeded is what a tree can take meanwhile


@dataclass(frozen=True, slots=True)
class TreeLimits:
    seconds: float  # wall time
    cpu_seconds: float
    memory_mb: int
    processes: int  # and their threads
    scratch_mb: int
    scratch_files: int


class ProcessTree:
    """All descendants of this process; orphans are among them while it is their reaper."""

    def __init__(self, proc: int) -> None:
        """proc: descriptor of a /proc that shows them; it may be that of an outer pid namespace."""
        self._proc = proc
        self._root = os.readlink("self", dir_fd=proc)

    def members(self) -> list[str]:
        found: list[str] = []
        parents = [self._root]
        while parents:
            children = self._children(parents.pop())
            found += children
            parents += children
        return found

    def threads(self, members: Iterable[str]) -> int:
        return sum(len(self._list(f"{pid}/task")) for pid in members)

    def exceeds_memory(self, members: Iterable[str], most: int, files: int) -> bool:
        """Whether memory is above `most` bytes, `files` of them in files without a name.

        Shared pages count once where the kernel shows that, which is to a process's own user, and
        else in every process. Only when that cheap sum exceeds is the exact one worth its time.
        """
        resident = {pid: self._field(f"{pid}/status", "RssAnon:", "RssShmem:") for pid in members}
        if sum(resident.values()) + files <= most:
            return False
        private = shared = 0
        for pid in members:
            own = self._field(f"{pid}/smaps_rollup", "Pss_Anon:")
            private += own or resident[pid]
            shared += self._field(f"{pid}/smaps_rollup", "Pss_Shmem:") if own else 0
        return private + max(shared, files) > most  # such files may be mapped, too

    def nameless_files(self, members: Iterable[str], device: int) -> tuple[int, int]:
        """Bytes of open files that no folder shows: on the file system `device`, and in memory."""
        sizes = {}
        for pid in members:
            for number in self._list(f"{pid}/fd"):
                with contextlib.suppress(OSError):
                    file = os.stat(f"{pid}/fd/{number}", dir_fd=self._proc)
                    if file.st_nlink == 0:
                        sizes[file.st_dev, file.st_ino] = file.st_blocks << 9
        on_device = sum(size for (where, _), size in sizes.items() if where == device)
        return on_device, sum(sizes.values()) - on_device

    def cpu_seconds(self, members: Iterable[str]) -> float:
        """Of the living; `resource.RUSAGE_CHILDREN` has those that were waited for."""
        ticks = 0
        for pid in members:
            fields = self._read(f"{pid}/stat").rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # utime, stime, and of their dead children
        return ticks / _TICKS

    def _children(self, pid: str) -> list[str]:
        threads = self._list(f"{pid}/task")
        lists = [self._read(f"{pid}/task/{thread}/children") for thread in threads]
        return [child for found in lists for child in found.split()]

    def _list(self, path: str) -> list[str]:
        """Empty when the process is gone, or another user's."""
        try:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._proc)
        except OSError:
            return []
        try:
            return os.listdir(folder)  # noqa: PTH208, a descriptor has no path
        except OSError:
            return []
        finally:
            os.close(folder)

    def _field(self, path: str, *names: str) -> int:
        lines = self._read(path).splitlines()
        return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(names))

    def _read(self, path: str) -> str:
        """Empty when the process is gone."""
        try:
            with os.fdopen(os.open(path, os.O_RDONLY, dir_fd=self._proc)) as file:
                return file.read()
        except OSError:
            return ""


def wait_for(child: int, tree: ProcessTree, limits: TreeLimits, scratch: str) -> int | str:
    """The child's exit status, or the name of the limit that its tree exceeded first.

    SIGCHLD must be blocked since before the fork, so that a child that ends at once is not missed.
    """
    end = time.monotonic() + limits.seconds
    look = time.monotonic() + _INTERVAL
    spent_before = _spent()
    while True:
        status = _reap(child)
        if status is not None:
            return status
        if time.monotonic() >= end:
            return "seconds"
        if time.monotonic() >= look:  # however often its orphans end and wake us
            exceeded = _exceeded(tree, limits, scratch, spent_before)
            if exceeded:
                return exceeded
            look = time.monotonic() + _INTERVAL
        signal.sigtimedwait({signal.SIGCHLD}, max(0.0, min(end, look) - time.monotonic()))


def _exceeded(
    tree: ProcessTree, limits: TreeLimits, scratch: str, spent_before: float
) -> str | None:
    members = tree.members()
    if tree.threads(members) > limits.processes:
        return "processes"
    if _spent() - spent_before + tree.cpu_seconds(members) > limits.cpu_seconds:
        return "cpu_seconds"
    device = Path(scratch).stat().st_dev if scratch else 0
    deleted, in_memory = tree.nameless_files(members, device)
    if tree.exceeds_memory(members, limits.memory_mb << 20, in_memory):
        return "memory_mb"
    if scratch:  # on a disk, which has no quota; a sized file system needs no watching
        size, files = _used(scratch)
        if size + deleted > limits.scratch_mb << 20 or files > limits.scratch_files:
            return "scratch"
    return None


def _used(scratch: str) -> tuple[float, float]:
    """Bytes and files, without bound where a program keeps us from counting them."""
    size = files = 0.0
    folders = [scratch]
    while folders:
        try:
            for entry in os.scandir(folders.pop()):
                files += 1
                with contextlib.suppress(FileNotFoundError):  # by now
                    size += entry.stat(follow_symlinks=False).st_blocks << 9
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except FileNotFoundError:
            continue
        except OSError:  # locked, or so deep that its path is too long
            return math.inf, math.inf
    return size, files


def _spent() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _reap(child: int) -> int | None:
    """Collect whatever has ended; the status of `child` if it is among them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def end_tree(everything_is_ours: bool, tree: ProcessTree) -> None:
    """Kill and collect every descendant.

    everything_is_ours: whether kill(-1) reaches this process's descendants only, because it is
        process 1 of a namespace or its signals are scoped. The kernel then misses none. Otherwise
        they are killed one by one, and one that forks faster than that lives on.
    """
    while True:
        if everything_is_ours:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(-1, signal.SIGKILL)
        else:
            for pid in tree.members():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
