"""What attacks leave on the machine: found by the token in every name, and removed."""

import contextlib
import ctypes
import fcntl
import glob
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy

_FOLDERS = (
    *(Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")),
    *(Path(name) for name in ("/run", "/run/lock", "/var/cache", "/var/lib", "/opt")),
    *(Path(name) for name in ("/srv", "/mnt", "/", os.__file__.rpartition("/")[0])),
    *(Path.home(), Path(sys.prefix), Path(numpy.__file__).parents[1]),
)
_RUNNER_FOLDERS = "programs-*"  # in the temporary folder
_LIBC = ctypes.CDLL(None, use_errno=True)
_SET_FLAGS = 0x40086602  # FS_IOC_SETFLAGS, see ioctl_iflags(2)
_KEYCTL, _ADD_KEY, _MQ_UNLINK = 250, 248, 241  # x86-64
_SEARCH, _UNLINK, _USER_KEYRING = 10, 9, -4
_REMOVE_IPC = 0
_DETACH = 2


class Leftovers:
    """`token` is part of every leftover's name; `key` and the 15 after it are for System V IPC."""

    def __init__(self, token: str, key: int) -> None:
        self._token, self._key = token, key
        self._first_mounts = _mount_points()

    def files(self) -> list[Path]:
        named = f"*{self._token}*"
        beneath = ["/".join([_RUNNER_FOLDERS, *["*"] * depth, named]) for depth in range(5)]
        places = [(folder, named) for folder in dict.fromkeys(_FOLDERS)]
        places += product([Path(tempfile.gettempdir())], beneath)
        found = (
            glob.glob(str(folder / pattern), include_hidden=True)  # noqa: PTH207, it ignores races
            for folder, pattern in places
        )
        return [Path(path) for paths in found for path in paths]

    def processes(self) -> list[int]:
        """Those that live on after half a second."""
        deadline = time.monotonic() + 0.5
        while (alive := list(self._alive())) and time.monotonic() < deadline:
            time.sleep(0.05)
        return alive

    def mounts(self) -> list[str]:
        return [point for point in _mount_points() if point not in self._first_mounts]

    def remove(self) -> None:
        for point in reversed(self.mounts()):
            if self._token in point or point.startswith(tempfile.gettempdir()):
                _LIBC.umount2(os.fsencode(point), _DETACH)
        for pid in self._alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for path in self.files():
            _allow_removal(path)
            subprocess.run(["rm", "-rf", path], check=True)  # goes deeper than shutil.rmtree
        for key in range(self._key, self._key + 16):
            _LIBC.shmctl(_LIBC.shmget(key, 0, 0), _REMOVE_IPC, None)
            _LIBC.semctl(_LIBC.semget(key, 0, 0), 0, _REMOVE_IPC)
            _LIBC.msgctl(_LIBC.msgget(key, 0), _REMOVE_IPC, None)
        _LIBC.syscall(_MQ_UNLINK, self._token.encode())
        forget_key(f"{self._token}-left")

    def _alive(self) -> Iterator[int]:
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                names = (folder / "comm").read_text() + (folder / "cmdline").read_text()
                ended = (folder / "stat").read_text().rpartition(") ")[2].startswith("Z")
                if self._token in names and not ended:
                    yield int(folder.name)


def keep_key(name: str, secret: str) -> None:
    """Add a key to the user's keyring, if the kernel has keyrings and lets us."""
    _LIBC.syscall(
        _ADD_KEY, b"user", name.encode(), secret.encode(), len(secret), ctypes.c_int(_USER_KEYRING)
    )


def forget_key(name: str) -> None:
    ring = ctypes.c_int(_USER_KEYRING)
    key = _LIBC.syscall(_KEYCTL, _SEARCH, ring, b"user", name.encode(), 0)
    if key > 0:
        _LIBC.syscall(_KEYCTL, _UNLINK, key, ring)


def _mount_points() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].removesuffix("//deleted") for line in lines]


def _allow_removal(path: Path) -> None:
    """Take the immutable flag from a file, in case it has it."""
    if path.is_file() and not path.is_symlink():
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.ioctl(file, _SET_FLAGS, struct.pack("Q", 0))
