"""Style and types, checked by the tools that editors and pre-commit use."""

import pytest
from checkout import ROOT, run


@pytest.mark.parametrize("command", ["ruff check", "ruff format --check", "mypy"])
def test_a_tool_finds_nothing(command: str) -> None:
    done = run(ROOT, *command.split())
    assert done.returncode == 0, done.stdout + done.stderr
