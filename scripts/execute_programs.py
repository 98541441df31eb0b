"""Help the jobs of studies in this folder: run programs of theirs here, until there are none left.

Start as many as you like, on any machine that sees this folder; a job whose helper ends goes on.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from agent.core.errors import one_line_errors
from agent.core.stopping import stop_on_warning
from agent.sandbox.helping import Helper


@dataclass(frozen=True)
class Arguments:
    workers: int
    """programs that run at the same time"""
    offers: Path = Path("results/offers")
    """folder where jobs say that they have programs to run"""
    idle_seconds: float = 1800.0
    """how long to wait for a program before ending"""


def main(arguments: Arguments) -> None:
    helper = Helper(arguments.offers)
    with stop_on_warning() as warned:
        helper.help(arguments.workers, arguments.idle_seconds, warned)
    print(f"{helper.executed} programs executed")


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Arguments, description=__doc__))
