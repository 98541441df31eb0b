"""Attacks, control and legitimate programs at every tier that this machine offers: `make attacks`.

    python -m attacks [--every N] [--no-control]

`--every N` takes only each Nth attack and program; `--no-control` leaves out the attacks against no
confinement, which tell of the suite and not of the sandbox. As root, where it has root's rights,
everything is run once more as an ordinary user. The last lines are JSON, one per tier.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from agent.sandbox import linux
from agent.sandbox.tiers import TIERS
from attacks import trial
from attacks.legitimate import NAMED_LIMITS, PROGRAMS
from attacks.ordinary import run_as_ordinary_user
from attacks.suite import ATTACKS, HARMLESS, Attack
from attacks.world import Verdict


def main() -> int:
    """Exits with 1 when an attack did harm, a legitimate program failed or the control is weak."""
    options = argparse.ArgumentParser(prog="attacks", description=(__doc__ or "").split("\n")[0])
    options.add_argument("--every", type=int, default=1, help="only each Nth attack and program")
    options.add_argument("--no-control", action="store_true", help="no attacks on no confinement")
    chosen = options.parse_args()
    lines, sound = _try_all_tiers(chosen.every, not chosen.no_control)
    status = 0
    if os.geteuid() == 0 and linux.has_capability(linux.CAP_SYS_ADMIN):
        more, status = run_as_ordinary_user([sys.executable, "-m", "attacks", *sys.argv[1:]])
        lines += more
    print("\n".join(lines))
    return 0 if sound and status == 0 else 1


def _try_all_tiers(every: int, with_control: bool) -> tuple[list[str], bool]:
    print(f"as {trial.user()}", flush=True)
    attacks, programs = ATTACKS[::every], list(PROGRAMS)[::every]
    control, enough = _try_control(attacks) if with_control else ({}, True)
    free = _timed(
        "legitimate programs, no confinement", lambda: trial.play_all(trial.CONTROL, programs)
    )
    lines, sound = [], enough
    for tier in TIERS[:-1]:
        refused = trial.refusal(tier)
        if refused:
            print(f"{tier}: not offered here: {refused}")
            continue
        verdicts = _timed(f"attacks, {tier}", lambda tier=tier: trial.attack_all(tier, attacks))
        confined = _timed(
            f"legitimate programs, {tier}", lambda tier=tier: trial.play_all(tier, programs)
        )
        harmful = trial.harmful(tier, verdicts)
        failed = trial.differences(tier, confined, free)
        _list("attacks that succeeded", harmful)
        _list("legitimate programs that failed", failed)
        _list("attacks that may succeed", _reasons(HARMLESS[tier]))
        _list("limits to legitimate programs", _reasons(NAMED_LIMITS[tier]))
        lines.append(trial.summary(tier, verdicts, control, len(free), failed))
        sound = sound and not harmful and not failed
    return lines, sound and bool(lines)


def _try_control(attacks: Sequence[Attack]) -> tuple[dict[str, Verdict], bool]:
    """Verdicts against no confinement, and whether enough succeed for the suite to mean much."""
    control = _timed("attacks, no confinement", lambda: trial.attack_all(trial.CONTROL, attacks))
    _list("not as the suite says without confinement", trial.unexplained(control))
    tried = [attack for attack in trial.possible() if attack.name in control]
    return control, 100 * Counter(control.values())["succeeded"] >= 85 * len(tried)


def _timed(what: str, work: Callable[[], Any]) -> Any:
    started = time.monotonic()
    done = work()
    print(f"{what}: {time.monotonic() - started:.0f} s", flush=True)
    return done


def _reasons(named: dict[str, str]) -> list[str]:
    return [f"{name}: {why}" for name, why in named.items()]


def _list(what: str, names: Collection[str]) -> None:
    if names:
        print(f"  {what}:", *names, sep="\n    ", flush=True)


if __name__ == "__main__":
    sys.exit(main())
