"""Semaphores of multiprocessing for programs that may not write /dev/shm, where named ones lie.

Nameless ones (sem_overview(7)) take their place, in memory that forked processes share. A new
interpreter cannot inherit that memory, so other ways to start a process are refused as before. Like
`program` this needs the standard library only, since a cold start hands on its source.
"""

import _multiprocessing
import ctypes
import errno
import functools
import importlib.machinery
import mmap
import os
import struct
import sys
import threading
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_RECURSIVE = 0  # kind of a lock that its owner may take again; the other kind, 1, only counts


class SemLock:
    """Does what `_multiprocessing.SemLock` does, whose source is semaphore.c of CPython 3.11."""

    SEM_VALUE_MAX = _multiprocessing.SemLock.SEM_VALUE_MAX

    def __init__(self, kind: int, value: int, maxvalue: int, name: str, unlink: bool) -> None:
        if kind not in (0, 1):
            raise ValueError("unrecognized kind")
        # Others than multiprocessing itself use names to share with a new interpreter.
        if not (unlink and name.startswith("/mp-")):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self.kind, self.maxvalue, self.name = kind, maxvalue, None
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self.handle = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._held, self._owner = 0, 0
        self._check(self._ask("sem_init", 1, ctypes.c_uint(value)))

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        if self.kind == _RECURSIVE and self._is_mine():
            self._held += 1
            return True
        call: tuple[Any, ...] = ("sem_wait",) if block else ("sem_trywait",)
        if block and timeout is not None:
            call = ("sem_timedwait", _deadline(timeout))
        failure = errno.EINTR
        while failure == errno.EINTR:  # signals are handled before the next round
            failure = self._ask(*call)
        if failure in (errno.EAGAIN, errno.ETIMEDOUT):
            return False
        self._check(failure)
        self._owner = threading.get_ident()  # first, since another's would look like holding it
        self._held += 1
        return True

    def release(self) -> None:
        if self.kind == _RECURSIVE:
            if not self._is_mine():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            if self._held > 1:
                self._held -= 1
                return
        elif self._get_value() >= self.maxvalue:
            raise ValueError("semaphore or lock released too many times")
        self._held -= 1  # first, since another thread counts as soon as it can
        self._check(self._ask("sem_post"))

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    def _is_mine(self) -> bool:
        return self._held > 0 and self._owner == threading.get_ident()

    def _count(self) -> int:
        return self._held

    def _get_value(self) -> int:
        value = ctypes.c_int()
        self._check(self._ask("sem_getvalue", ctypes.byref(value)))
        return value.value

    def _is_zero(self) -> bool:
        return self._get_value() == 0

    def _after_fork(self) -> None:
        self._held = 0

    @classmethod
    def _rebuild(cls, *state: object) -> "SemLock":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def _ask(self, call: str, *arguments: Any) -> int:
        """0, or the number of the error."""
        answer = getattr(_libc(), call)(ctypes.c_void_p(self.handle), *arguments)
        return 0 if answer == 0 else ctypes.get_errno()

    def _check(self, failure: int) -> None:
        if failure:
            raise OSError(failure, os.strerror(failure))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _deadline(timeout: float) -> bytes:
    """A struct timespec."""
    return struct.pack("ll", *divmod(time.time_ns() + int(max(timeout, 0.0) * 1e9), 10**9))


class _HeapFinder:
    """Makes multiprocessing keep its shared arrays in a temporary file instead of /dev/shm.

    A hook, since importing the module costs more than the start of a program.
    """

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "multiprocessing.heap":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        loader: Any = spec.loader if spec else None
        execute = loader.exec_module

        def execute_and_change(module: ModuleType) -> None:
            execute(module)
            _use_files(module)

        loader.exec_module = execute_and_change
        return spec


def _use_files(heap: Any) -> None:
    heap.Arena._dir_candidates = []


def install() -> None:
    """For this process and those that it forks; `multiprocessing` may be imported or not."""
    _multiprocessing.SemLock = SemLock
    if "multiprocessing.heap" in sys.modules:
        _use_files(sys.modules["multiprocessing.heap"])
    else:
        sys.meta_path.insert(0, _HeapFinder)
