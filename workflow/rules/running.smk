import fcntl
import sys
from pathlib import Path

# Jobs outlive a Snakemake that is killed. Whoever works in this folder shares a lock while it lives,
# Snakemake itself on one file and its jobs on another, by which `make resume` finds them. Where a
# file system knows no locks between machines, the open file still tells of those on the same one.
LOCKS = Path(".snakemake")
JOBS = LOCKS / "jobs.lock"
LOCKS.mkdir(exist_ok=True)
working_here = (LOCKS / "controller.lock" if workflow.is_main_process else JOBS).open("a+")
try:
    fcntl.flock(working_here, fcntl.LOCK_SH)
except OSError as refused:
    print(f"{working_here.name}: jobs on other machines go unseen: {refused}", file=sys.stderr)

# A job that is to end is told so with SIGTERM, all its processes at once, and has some seconds left.
# The shell must outlive its program, which may use them: a shell with a trap waits for it.
shell.prefix(
    f"set -euo pipefail; trap : TERM; exec 9<>{JOBS}; flock --shared 9 2>/dev/null || true; "
)
