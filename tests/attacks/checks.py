"""The traces by which an attack's success is known, each seen from outside the program.

Only `printed` trusts the program, which says so once it has got what it wanted.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.core.competition import InvalidSubmissionError
from agent.core.environment import Execution, grade

if TYPE_CHECKING:
    from attacks.world import World

Check = Callable[["World", Execution, float], bool]
_PATIENCE = 2.0  # s that the harness may need after a program's time is up
# Parts of the world by the check that watches them.
_WATCHED = {
    "answers_changed": ("private/test_answer.csv",),
    "leaderboard_changed": ("private/public_leaderboard.csv",),
    "history_changed": ("private/history.json",),
    "log_changed": ("private/harness.log",),
    "public_changed": ("public",),
    "grader_changed": ("grader",),
    "customize_planted": ("site", "home/.local"),
    "home_changed": ("home",),
    "repository_changed": ("repository",),
}


def printed(world: "World", execution: Execution, seconds: float) -> bool:
    return "PWNED" in execution.output.splitlines()


def leaked(world: "World", execution: Execution, seconds: float) -> bool:
    """A secret came out, by what was printed or by what was handed in."""
    text = execution.output + (execution.submission or b"").decode(errors="replace")
    return any(secret in text for secret in world.secrets.values())


def submission_accepted(world: "World", execution: Execution, seconds: float) -> bool:
    return _position(world, execution) is not None


def perfect_score(world: "World", execution: Execution, seconds: float) -> bool:
    return _position(world, execution) == 1.0


def _position(world: "World", execution: Execution) -> float | None:
    if execution.submission is None:
        return None
    try:
        return grade(world.competition, execution.submission)[1]
    except InvalidSubmissionError:
        return None


def _changed(*parts: str) -> Check:
    return lambda world, execution, seconds: any(world.changed(part) for part in parts)


CHECKS: dict[str, Check] = {
    "printed": printed,
    "remembered": printed,  # by the second of two runs
    "leaked": leaked,
    "submission_accepted": submission_accepted,
    "perfect_score": perfect_score,
    "received": lambda world, execution, seconds: world.listeners.heard(world.token),
    "file_left": lambda world, execution, seconds: bool(world.leftovers.files()),
    "process_survives": lambda world, execution, seconds: bool(world.leftovers.processes()),
    "mounts_changed": lambda world, execution, seconds: bool(world.leftovers.mounts()),
    "victim_harmed": lambda world, execution, seconds: world.victim.harmed(),
    "harness_hung": lambda world, execution, seconds: seconds > world.seconds + _PATIENCE,
    "harness_failed": lambda world, execution, seconds: False,  # then there is no execution
    "runner_broken": lambda world, execution, seconds: not world.runner_works,
    "crash_hidden": lambda world, execution, seconds: execution.outcome == "ok",
    "escapes_kept": lambda world, execution, seconds: "\x1b" in execution.output,
    "output_too_long": lambda world, execution, seconds: len(execution.output) > 1 << 20,
    **{name: _changed(*parts) for name, parts in _WATCHED.items()},
}
