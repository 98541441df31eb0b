"""The section `sandbox` of a configuration, and the runner that it asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from agent.sandbox.runner import ProgramLimits, TierName, WarmRunner

COPIED_BYTES = 16 << 20  # what a program gets as its own copy; a tenth of a second's work


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    min_tier: TierName
    start: Literal["warm", "cold"]
    seconds: float
    cpu_seconds: float
    memory_mb: int
    processes: int
    file_mb: int
    scratch_mb: int
    scratch_files: int
    output_kb: int
    modules: tuple[str, ...]
    remember_programs: bool


def open_runner(settings: SandboxSettings, shared: Sequence[Path]) -> WarmRunner:
    """shared: what programs see in place, as of `large_entries`. Use it as a context manager."""
    given = {field.name: getattr(settings, field.name) for field in fields(ProgramLimits)}
    return WarmRunner(
        ProgramLimits(**given), settings.modules, shared, settings.min_tier, start=settings.start
    )


def large_entries(public: Path) -> list[Path]:
    """Files and folders too large to be copied for every program."""
    if not public.is_dir():
        raise FileNotFoundError(f"{public}: no such folder; prepare this competition first")
    return [entry for entry in sorted(public.iterdir()) if _bytes(entry) > COPIED_BYTES]


def _bytes(entry: Path) -> int:
    if not entry.is_dir():
        return entry.stat().st_size
    return sum(path.stat().st_size for path in entry.rglob("*") if path.is_file())
