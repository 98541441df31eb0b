"""Where programs are run and how they are confined there, settled before the first one comes."""

from dataclasses import dataclass
from typing import NamedTuple


class Filters(NamedTuple):
    """Compiled filters of system calls, as `system_calls` describes them."""

    keeper: bytes
    inside: bytes
    outside: bytes


@dataclass(frozen=True, slots=True)
class Tier:
    """How programs are confined; what the fork server found out and was told."""

    name: str  # see `tiers`
    landlock_abi: int
    scratch: str  # a folder for the programs' places, or over which their view is built
    readable: tuple[str, ...]
    filters: Filters
    own_user: bool  # programs run as a user of their own, which only root can arrange
    cold_source: str  # what a new interpreter runs; empty for a warm start


@dataclass(frozen=True, slots=True)
class Home:
    """Where one supervisor's programs live."""

    tier: Tier
    user: int | None  # to become before running a program, when root
    own_network: bool
    rules: int | None  # Landlock's, when they are the same for every program
