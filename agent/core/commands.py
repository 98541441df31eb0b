"""Running another program for what it prints."""

import subprocess
from collections.abc import Sequence


def output_of(command: Sequence[str]) -> str:
    """What a command prints; raises a one-line error with what it says when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}"
        raise RuntimeError(f"{said}; try again when {command[0]} works here")
    return done.stdout
