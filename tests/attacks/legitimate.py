"""Legitimate programs, whose result confinement must not change.

What each prints and submits is a function of its text, so that two runs can be compared.
"""

import sys
from pathlib import Path

from attacks import legitimate_files, legitimate_learning, legitimate_output
from attacks.legitimate_files import FILES
from attacks.legitimate_learning import LEARNING
from attacks.legitimate_output import OUTPUT
from attacks.legitimate_pipelines import pipelines
from attacks.legitimate_processes import PROCESSES

PROGRAMS: dict[str, str] = LEARNING | PROCESSES | FILES | OUTPUT | pipelines()
# Modules without which a program is skipped.
NEEDS: dict[str, str] = legitimate_learning.NEEDS | legitimate_files.NEEDS | legitimate_output.NEEDS

_BENEATH_TMP = any(Path(folder).is_relative_to("/tmp") for folder in (sys.prefix, sys.base_prefix))
# What confinement does change, by tier and program; everything else is a false alarm.
NAMED_LIMITS: dict[str, dict[str, str]] = {
    "namespaces": {"file in /tmp": "Python itself lies beneath /tmp"} if _BENEATH_TMP else {},
    "landlock": {
        "manager": "unix sockets with an address are refused",
        "shared memory with a name": "/dev/shm cannot be written",
        "batches loaded by workers of torch": "/dev/shm cannot be written",
        "file in /tmp": "temporary files go to $TMPDIR",
        "mode of a script": "changes of a mode by path do nothing",
        "times of a file": "changes of times by path do nothing",
    },
}
