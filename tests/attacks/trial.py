"""Runs attacks and legitimate programs at one tier, as the user of this process, on every core."""

import importlib.util
import json
import multiprocessing
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from agent.sandbox import linux
from agent.sandbox.runner import ProgramLimits, TierName, WarmRunner
from attacks.competition import write_public
from attacks.legitimate import NAMED_LIMITS, NEEDS, PROGRAMS
from attacks.suite import ATTACKS, HARMLESS, NEEDS_OWN_RUNNER, ROOT_ONLY, Attack
from attacks.world import Verdict, world

MODULES = ["numpy", "pandas", "sklearn"]
LIMITS = ProgramLimits(
    seconds=4.0,
    cpu_seconds=4.0,
    memory_mb=2048,
    processes=64,
    file_mb=16,
    scratch_mb=64,
    scratch_files=2000,
    output_kb=256,
)
UNLIMITED = ProgramLimits(
    seconds=8.0,
    cpu_seconds=1e6,
    memory_mb=1 << 20,
    processes=1 << 20,
    file_mb=1 << 20,
    scratch_mb=1 << 20,
    scratch_files=1 << 30,
    output_kb=256,
)
_ROOMY = replace(LIMITS, seconds=120.0, cpu_seconds=240.0, memory_mb=8192, scratch_mb=1024)
CONTROL: TierName = "limits"  # with the limits of `UNLIMITED`, nothing is in a program's way

Result = tuple[str, str, str, str, bytes | None]  # of a legitimate program


def attack_all(tier: TierName, attacks: Sequence[Attack] = ATTACKS) -> dict[str, Verdict]:
    """Each attack's verdict by its name."""
    with _pool() as pool:
        shares = [attacks[first :: pool._max_workers] for first in range(pool._max_workers)]
        verdicts = list(pool.map(_attack_some, [tier] * len(shares), shares))
    return {name: verdict for some in verdicts for name, verdict in some.items()}


def play_all(tier: TierName, programs: Iterable[str] = PROGRAMS) -> dict[str, Result]:
    """What each legitimate program does; those whose library is not installed are left out."""
    names = [name for name in programs if name not in NEEDS or _is_installed(NEEDS[name])]
    with _pool() as pool:
        shares = [names[first :: pool._max_workers] for first in range(pool._max_workers)]
        return {
            name: result
            for some in pool.map(_play_some, [tier] * len(shares), shares)
            for name, result in some.items()
        }


def refusal(tier: TierName) -> str:
    """Why this machine does not offer a tier; empty when it does."""
    with _runner(tier, LIMITS) as runner:
        try:
            runner.wait_until_ready()
        except RuntimeError as refused:
            return str(refused)
    return ""


def user() -> str:
    return "root" if os.geteuid() == 0 else "an ordinary user"


def summary(
    tier: TierName,
    verdicts: dict[str, Verdict],
    control: dict[str, Verdict],
    played: int,
    failed: Sequence[str],
) -> str:
    """One JSON line."""
    counts = Counter(verdicts.values())
    tried = [attack for attack in possible() if attack.name in control]
    return json.dumps(
        {
            "tier": tier,
            "user": user(),
            "attacks": len(verdicts),
            "succeeded": counts["succeeded"],
            "harmful": len(harmful(tier, verdicts)),
            "timed_out": counts["timed_out"],
            "control_attacks": len(tried),
            "control_succeeded": Counter(control.values())["succeeded"],
            "legitimate": played,
            "legitimate_failed": len(failed),
        }
    )


def harmful(tier: TierName, verdicts: dict[str, Verdict]) -> list[str]:
    """Attacks that succeeded, but for those known as harmless."""
    return [
        name
        for name, verdict in verdicts.items()
        if verdict == "succeeded" and name not in HARMLESS[tier]
    ]


def unexplained(control: dict[str, Verdict]) -> list[str]:
    """Attacks that failed against no confinement though nothing says why, or the reverse."""
    expected = {attack.name for attack in possible() if not attack.control}
    return [name for name in control if (control[name] == "succeeded") != (name in expected)]


def possible() -> list[Attack]:
    """Those that this process has the rights for."""
    all_rights = os.geteuid() == 0 and linux.has_capability(linux.CAP_SYS_ADMIN)
    return [attack for attack in ATTACKS if all_rights or attack.name not in ROOT_ONLY]


def differences(tier: TierName, confined: dict[str, Result], free: dict[str, Result]) -> list[str]:
    """Legitimate programs whose result confinement changes, but for the limits that are named."""
    named = NAMED_LIMITS[tier]
    return [name for name in free if name not in named and confined[name] != free[name]]


def _pool() -> ProcessPoolExecutor:
    workers = len(os.sched_getaffinity(0))
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))


def _runner(tier: TierName, limits: ProgramLimits) -> WarmRunner:
    return WarmRunner(limits, MODULES, weakest=tier, strongest=tier)


def _attack_some(tier: TierName, attacks: Iterable[Attack]) -> dict[str, Verdict]:
    limits = UNLIMITED if tier == CONTROL else LIMITS
    verdicts: dict[str, Verdict] = {}
    # Sockets in the world want a short path.
    folder = Path(tempfile.gettempdir(), f"world-{os.getpid()}")
    with world(folder) as target, _runner(tier, limits) as shared:
        for attack in attacks:
            own = attack.name in NEEDS_OWN_RUNNER
            with _runner(tier, limits) if own else nullcontext(shared) as runner:
                verdicts[attack.name] = target.judge(attack, runner)
    return verdicts


def _play_some(tier: TierName, names: Iterable[str]) -> dict[str, Result]:
    folder = Path(tempfile.mkdtemp())
    write_public(folder / "public")
    results: dict[str, Result] = {}
    with _runner(tier, _ROOMY) as runner:
        for name in names:
            ran = runner.run(PROGRAMS[name], folder / "public")
            results[name] = (ran.outcome, ran.error, ran.message, ran.output, ran.submission)
    shutil.rmtree(folder)
    return results


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
