"""Attacks, control and legitimate programs at every tier that this machine offers: `make attacks`.

As root, everything is run once more as an ordinary user. The last lines are JSON, one per tier.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from agent.sandbox.tiers import TIERS
from attacks import trial
from attacks.legitimate import NAMED_LIMITS
from attacks.ordinary import run_as_ordinary_user
from attacks.suite import HARMLESS


def main() -> int:
    """Exits with 1 when an attack did harm, a legitimate program failed or the control is weak."""
    lines, sound = _try_all_tiers()
    status = 0
    if os.geteuid() == 0:
        more, status = run_as_ordinary_user([sys.executable, "-m", "attacks"])
        lines += more
    print("\n".join(lines))
    return 0 if sound and status == 0 else 1


def _try_all_tiers() -> tuple[list[str], bool]:
    print(f"as {trial.user()}", flush=True)
    control = _timed("attacks without confinement", lambda: trial.attack_all(trial.CONTROL))
    enough = 100 * Counter(control.values())["succeeded"] >= 85 * len(trial.possible())
    _list("not as the suite says without confinement", trial.unexplained(control))
    free = _timed("legitimate programs without confinement", lambda: trial.play_all(trial.CONTROL))
    lines, sound = [], enough
    for tier in TIERS[:-1]:
        refused = trial.refusal(tier)
        if refused:
            print(f"{tier}: not offered here: {refused}")
            continue
        verdicts = _timed(f"attacks, {tier}", lambda tier=tier: trial.attack_all(tier))
        confined = _timed(f"legitimate programs, {tier}", lambda tier=tier: trial.play_all(tier))
        harmful = trial.harmful(tier, verdicts)
        failed = trial.differences(tier, confined, free)
        _list("attacks that succeeded", harmful)
        _list("legitimate programs that failed", failed)
        _list("attacks that may succeed", _reasons(HARMLESS[tier]))
        _list("limits to legitimate programs", _reasons(NAMED_LIMITS[tier]))
        lines.append(trial.summary(tier, verdicts, control, len(free), failed))
        sound = sound and not harmful and not failed
    return lines, sound and bool(lines)


def _timed(what: str, work: Callable[[], Any]) -> Any:
    started = time.monotonic()
    done = work()
    print(f"{what}: {time.monotonic() - started:.0f} s", flush=True)
    return done


def _reasons(named: dict[str, str]) -> list[str]:
    return [f"{name}: {why}" for name, why in named.items()]


def _reasons(named: dict[str, str]) -> list[str]:
    return [f"{name}: {why}" for name, why in named.items()]


def _list(what: str, names: Collection[str]) -> None:
    if names:
        print(f"  {what}:", *names, sep="\n    ", flush=True)


if __name__ == "__main__":
    sys.exit(main())
