"""What a program's whole process tree uses, from proc(5), and ending that tree.

Limits of setrlimit(2) hold for one process; sums over all its descendants are watched from outside.
"""

import contextlib
import os
import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_INTERVAL = 0.05  # s between two looks: what may be exceeded is what a tree can take meanwhile


@dataclass(frozen=True, slots=True)
class TreeLimits:
    seconds: float  # wall time
    cpu_seconds: float
    memory_mb: int
    processes: int
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

    def memory(self, members: list[str]) -> int:
        """Bytes of memory and shared files in memory, shared pages counted once."""
        # The resident size counts pages shared with the fork server again in every process: cheap,
        # and never too small. Only when it exceeds is the exact sum worth its milliseconds.
        return sum(
            self._field(f"{pid}/smaps_rollup", ("Pss_Anon:", "Pss_Shmem:")) for pid in members
        )

    def resident(self, members: list[str]) -> int:
        return sum(self._field(f"{pid}/status", ("RssAnon:", "RssShmem:")) for pid in members)

    def cpu_seconds(self, members: list[str]) -> float:
        """Of the living; `resource.RUSAGE_CHILDREN` has those that were waited for."""
        ticks = 0
        for pid in members:
            fields = self._read(f"{pid}/stat").rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # utime, stime, and of their dead children
        return ticks / _TICKS

    def _children(self, pid: str) -> list[str]:
        threads: list[str] = []
        with contextlib.suppress(OSError):
            tasks = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._proc)
            try:
                threads = os.listdir(tasks)  # noqa: PTH208, a descriptor has no path
            finally:
                os.close(tasks)
        lists = [self._read(f"{pid}/task/{thread}/children") for thread in threads]
        return [child for found in lists for child in found.split()]

    def _field(self, path: str, names: tuple[str, ...]) -> int:
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
    started = time.monotonic()
    spent_before = _spent()
    while True:
        status = _reap(child)
        if status is not None:
            return status
        left = limits.seconds - (time.monotonic() - started)
        if left <= 0:
            return "seconds"
        if signal.sigtimedwait({signal.SIGCHLD}, min(left, _INTERVAL)) is None:
            exceeded = _exceeded(tree, limits, scratch, spent_before)
            if exceeded:
                return exceeded


def _exceeded(
    tree: ProcessTree, limits: TreeLimits, scratch: str, spent_before: float
) -> str | None:
    members = tree.members()
    if len(members) > limits.processes:
        return "processes"
    if _spent() - spent_before + tree.cpu_seconds(members) > limits.cpu_seconds:
        return "cpu_seconds"
    most = limits.memory_mb << 20
    if tree.resident(members) > most and tree.memory(members) > most:
        return "memory_mb"
    if scratch and _is_full(scratch, limits):
        return "scratch"
    return None


def _is_full(scratch: str, limits: TreeLimits) -> bool:
    """For folders on a disk, which have no quota; a sized file system needs no watching."""
    size = files = 0
    for folder, _, names in os.walk(scratch):
        files += len(names)
        for name in names:
            with contextlib.suppress(OSError):
                size += Path(folder, name).lstat().st_blocks << 9
    return size > limits.scratch_mb << 20 or files > limits.scratch_files


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
