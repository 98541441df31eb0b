"""Which confinement this machine offers, found out by trying it.

namespaces  own users, processes, mounts, network, IPC; Landlock where the kernel has it; filter
landlock    the host's namespaces; Landlock with scoped signals, and the system-call filter
limits      setrlimit(2), a clean environment and nothing else: for trusted programs only
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.sandbox import landlock, linux, namespaces

TIERS = ("namespaces", "landlock", "limits")  # strongest first
FIRST_USER = 2_000_000_000  # numbers that no site gives to a person or a service


@dataclass(frozen=True, slots=True)
class Offer:
    """What a machine offers; a tier's reason is empty when it can be had."""

    reasons: dict[str, str]
    landlock_abi: int
    own_network: bool
    own_proc: bool
    own_user: bool  # root only: whether programs can run as a user that owns nothing

    def choose(self, weakest: str, strongest: str) -> str:
        """The strongest tier offered in this range; raises RuntimeError when there is none."""
        asked = TIERS[TIERS.index(strongest) : TIERS.index(weakest) + 1]
        for tier in asked:
            if not self.reasons[tier]:
                return tier
        why = "; ".join(f"{tier}: {self.reasons[tier]}" for tier in asked)
        raise RuntimeError(
            f"sandbox.min_tier: this machine offers none of {', '.join(asked)} ({why}); "
            f"allow user namespaces or use Linux 6.12 with Landlock"
        )

    def describe(self, tier: str) -> str:
        """One word per layer in force, for records and reports."""
        if tier == "limits":
            return tier
        layers = ["seccomp"]
        if self.landlock_abi:
            layers.append(f"landlock {self.landlock_abi}")
        if tier == "namespaces":
            layers += ["network"] if self.own_network else []
            layers += ["proc"] if self.own_proc else []
        return f"{tier} ({', '.join(layers)})"


def probe(scratch: str, readable: tuple[str, ...], shared: tuple[str, ...]) -> Offer:
    """Try each tier in a process that ends. `scratch` is an empty folder, `shared` readable too."""
    version = landlock.abi()
    spaces = _try(lambda: _enter_namespaces(scratch, readable, shared))
    found = json.loads(spaces) if spaces.startswith("{") else {}
    root = os.geteuid() == 0
    own_user = root and not _try(lambda: _restrict(version, readable, shared, as_other=True))
    restricted = (
        "" if own_user else _try(lambda: _restrict(version, readable, shared, as_other=False))
    )
    return Offer(
        {"namespaces": "" if found else spaces, "landlock": restricted, "limits": ""},
        version,
        bool(found.get("network")),
        bool(found.get("proc")),
        own_user,
    )


def drop_root(user: int) -> None:
    """Become a user that owns nothing. Root only."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _enter_namespaces(scratch: str, readable: tuple[str, ...], shared: tuple[str, ...]) -> str:
    network = namespaces.isolate()
    reader, writer = os.pipe()
    if os.fork() == 0:
        answer = _answer(lambda: _see_view(scratch, readable, shared, network))
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    os.wait()
    return os.read(reader, 4096).decode()


def _see_view(
    scratch: str, readable: tuple[str, ...], shared: tuple[str, ...], network: bool
) -> str:
    namespaces.build_view(scratch, readable)
    linux.mount("tmpfs", namespaces.PLACE, "tmpfs", 0, "size=1m")
    if os.geteuid() == 0:
        drop_root(FIRST_USER + os.getpid())
    _read_what_programs_need(shared)
    return json.dumps({"network": network, "proc": Path("/proc/self").exists()})


def _restrict(
    version: int, readable: tuple[str, ...], shared: tuple[str, ...], as_other: bool
) -> str:
    if not version:
        return "the kernel has no Landlock"
    if as_other:
        drop_root(FIRST_USER + os.getpid())
    elif version < landlock.SCOPES_ABI:
        return f"Landlock ABI {version} does not keep signals inside, {landlock.SCOPES_ABI} does"
    linux.drop_capabilities()
    landlock.restrict(landlock.make_rules(readable, (), version))
    _read_what_programs_need(shared)
    return ""


def _read_what_programs_need(shared: tuple[str, ...]) -> None:
    """The standard library and the data; a private folder above would hide them."""
    Path(os.__file__).read_bytes()
    Path(sys.executable).resolve().stat()
    for path in shared:
        os.close(os.open(path, os.O_RDONLY))


def _try(layer: Callable[[], str]) -> str:
    """The answer of `layer` in a process of its own, or why it failed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, _answer(layer).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as answer:
        return answer.read()


def _answer(layer: Callable[[], str]) -> str:
    try:
        return layer()
    except (OSError, RuntimeError) as refused:
        return str(refused)
