"""Go on after a kill, a crash or a lost connection: stop what is left of earlier runs, then start.

Jobs outlive a Snakemake that was killed, on a cluster and on this machine, and would write the same
files as those of the next one. So nothing starts before the last of them is gone, and in a folder
only one process at a time sees to that.
"""

import fcntl
import getpass
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import tyro

from agent.core.commands import output_of
from agent.core.errors import one_line_errors

CONTROLLER = Path(".snakemake/controller.lock")  # both as in workflow/rules/running.smk
JOBS = Path(".snakemake/jobs.lock")
RESUME = Path(".snakemake/resume.lock")
LOCKS = Path(".snakemake/locks")  # Snakemake's own, which a killed one leaves
PROFILE = Path("slurm/config.yaml")
GRACE = 120.0  # seconds: what SLURM's warning gives a job to finish what it is doing
PATIENCE = 900.0  # seconds until a cancelled job that does not go away is reported


def main(options: tyro.conf.Positional[tuple[str, ...]]) -> None:
    """Continue a study: `resume.py -- --profile slurm`, or `resume.py -- --cores 4`.

    Args:
        options: of Snakemake, as for the run that is continued.
    """
    claim_folder()
    refuse_if_working()
    cancel_jobs()
    stop_processes()
    wait_for_others()
    locked = LOCKS.exists() and any(LOCKS.iterdir())
    refuse_if_working()  # so it is nobody's lock, and one that comes now is left alone
    command = ["snakemake", *options]
    if locked and (wrong := subprocess.run([*command, "--unlock"], check=False).returncode):
        sys.exit(wrong)  # it has said why
    command += ["--rerun-incomplete"]
    print(" ".join(command), flush=True)
    os.execvp(command[0], command)


def claim_folder() -> None:
    """Refuse where another process resumes; the Snakemake that this one becomes holds on to it.

    Its jobs do not: Python closes for them what it has open. So a kill sets the folder free.
    """
    RESUME.parent.mkdir(exist_ok=True)
    file = os.open(RESUME, os.O_RDWR | os.O_CREAT, 0o666)
    os.set_inheritable(file, True)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        others = [f"process {number}" for number in holders(RESUME) if number != os.getpid()]
        raise RuntimeError(
            f"{Path.cwd()} is being resumed ({', '.join(others) or 'on another machine'}): let it "
            "finish, or stop it with Ctrl-C or scancel and try again"
        ) from None
    except OSError as refused:
        print(f"{RESUME}: another make resume goes unseen: {refused}", file=sys.stderr)


def refuse_if_working() -> None:
    """A Snakemake that still watches its jobs is no leftover; one may start at any time."""
    working = [f"process {process}" for process in holders(CONTROLLER)]
    working += [f"SLURM job {job}" for job, name in jobs().items() if name.endswith("controller")]
    if not working and not is_free(CONTROLLER):
        working.append("on another machine")
    if working:
        raise RuntimeError(
            f"Snakemake still works in {Path.cwd()} ({', '.join(working)}): let it finish, or stop "
            "it with Ctrl-C or scancel and try again"
        )


def cancel_jobs() -> None:
    """Cancel this folder's SLURM jobs, and wait until SLURM has ended the last of them."""
    started = time.monotonic()
    while left := jobs():
        if time.monotonic() - started > PATIENCE:
            raise RuntimeError(
                f"SLURM jobs {', '.join(left)} do not end, perhaps their node is lost: ask the "
                "administrators, and try again when squeue no longer shows them"
            )
        refuse_if_working()
        print(f"waiting for the end of SLURM jobs {', '.join(left)}", flush=True)
        subprocess.run(["scancel", *left], check=False)  # some may just have ended
        time.sleep(3)


def jobs() -> dict[str, str]:
    """Number and name of this project's SLURM jobs that were sent from this folder."""
    if not shutil.which("squeue"):
        return {}
    command = ["squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i|%j|%Z"]
    rows = [line.split("|", 2) for line in output_of(command).splitlines()]
    own = str(os.environ.get("SLURM_JOB_ID"))
    return {
        number: name
        for number, name, folder in rows
        if name.startswith(prefix()) and Path(folder) == Path.cwd() and number != own
    }


def prefix() -> str:
    found = re.search(r"^slurm-jobname-prefix: (\S+)", PROFILE.read_text(), re.MULTILINE)
    if not found:
        raise ValueError(f"{PROFILE}: no slurm-jobname-prefix: give one, jobs are known by it")
    return found[1]


def stop_processes() -> None:
    """Ask this machine's leftover jobs to end, and end those that do not."""
    for demand in (signal.SIGTERM, signal.SIGKILL):
        refuse_if_working()
        if left := holders(JOBS):
            print(f"waiting for the end of processes {', '.join(map(str, left))}", flush=True)
        _send(demand, left)
        wait(lambda: not holders(JOBS))


def wait_for_others() -> None:
    """Whoever still holds the jobs' lock now is out of this machine's reach."""
    if not wait(lambda: is_free(JOBS)):
        raise RuntimeError(f"{JOBS} is held on another machine: run this where those jobs run")


def wait(condition: Callable[[], bool]) -> bool:
    """Whether the condition came true while patience lasted."""
    deadline = time.monotonic() + GRACE
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return true


def _send(demand: signal.Signals, processes: Iterable[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, demand)


def is_free(lock: Path) -> bool:
    """Whether nobody on any machine holds the lock; where there are no locks, as far as known."""
    if not lock.exists():
        return True
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as refused:
            print(f"{lock}: jobs on other machines go unseen: {refused}", file=sys.stderr)
    return True


def holders(lock: Path) -> list[int]:
    """This machine's processes that have the lock's file open."""
    processes = Path("/proc").glob("[0-9]*")
    return sorted(int(folder.name) for folder in processes if lock.resolve() in _opened(folder))


def _opened(process: Path) -> set[Path]:
    found = set()
    with suppress(OSError):  # the process ended, or is somebody else's
        for file in list((process / "fd").iterdir()):
            with suppress(OSError):  # the process closed it
                found.add(file.readlink())
    return found


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main, description=__doc__)
