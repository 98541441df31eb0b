"""Limits for tests: small, and spelled out where a test runs into one."""

from dataclasses import replace
from typing import Any

from agent.sandbox.runner import ProgramLimits

LIMITS = ProgramLimits(
    seconds=20.0,
    cpu_seconds=40.0,
    memory_mb=4096,
    processes=64,
    file_mb=4,
    scratch_mb=64,
    scratch_files=2000,
    output_kb=2,
)


def limits(**given: Any) -> ProgramLimits:
    return replace(LIMITS, **given)
