"""Landlock: what a process and its children may open, connect to and signal (landlock(7)).

Rules only ever take away, need no privilege, and cannot be undone. No Python binding knows the
scopes of ABI 6, which keep a program's signals inside; so these are the three calls themselves.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from agent.sandbox import linux

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all architectures
_VERSION = 1  # flag of landlock_create_ruleset(2)
_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_FIFO, MAKE_BLOCK = 1 << 6, 1 << 10, 1 << 11
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_TCP = 3  # bind and connect
_SCOPES = 3  # abstract unix sockets, signals

READ = EXECUTE | READ_FILE | READ_DIR
SCOPES_ABI = 6


def abi() -> int:
    """The kernel's Landlock version, 0 when it has none or it is switched off."""
    version = linux.LIBC.syscall(ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), _VERSION)
    return max(version, 0)


def keep_signals_inside() -> None:
    """From now on this process and its children signal each other only. ABI 6.

    Every layer must allow REFER to what moves between folders, also one without rules for files.
    """
    rules = _ruleset(REFER, 0, 2)
    _allow(rules, "/", REFER)
    restrict(rules)


def make_rules(readable: Iterable[str], writable: Iterable[str], version: int) -> int:
    """Reading and executing beneath `readable`, and all but special files in `writable`.

    Paths that do not exist are left out; a folder's rule holds for what is mounted in it, also
    later. TCP is refused from ABI 4 on; signals and abstract sockets stay among the program's own
    processes from ABI 6 on. Returns a descriptor.
    """
    handled = (1 << 13) - 1
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        handled |= right if version >= since else 0
    rules = _ruleset(handled, _TCP if version >= 4 else 0, _SCOPES if version >= SCOPES_ABI else 0)
    for path in readable:
        _allow(rules, path, READ & handled)
    for path in writable:
        _allow(rules, path, handled & ~(MAKE_CHAR | MAKE_BLOCK | MAKE_FIFO))
    return rules


def _ruleset(files: int, network: int, scopes: int) -> int:
    """The kernel takes a structure without the fields it does not know, or with zeros in them."""
    fields = [files, network, scopes]
    while len(fields) > 1 and not fields[-1]:
        fields.pop()
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    return linux.system_call(
        _CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0)
    )


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not Path(path).is_dir():
        rights &= _OF_FILES
    try:
        linux.system_call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", rights, beneath), 0)
    finally:
        os.close(beneath)


def restrict(rules: int) -> None:
    """From now on this process and its children obey `rules`, whose descriptor is closed."""
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.system_call(_RESTRICT_SELF, rules, ctypes.c_uint(0))
    os.close(rules)
