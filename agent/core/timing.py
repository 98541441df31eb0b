"""Where a job's time goes, from the start of its process on, and what it held meanwhile."""

import json
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.core import machine
from agent.core.files import write_text


class Stopwatch:
    """Sums wall seconds by phase; make one right after the imports, which it counts as "import"."""

    def __init__(self, rule: str, job: str) -> None:
        self._rule, self._job, self._cores = rule, job, _cores()
        age = _process_age()
        self._started = time.time() - age
        self.seconds: dict[str, float] = {"import": age}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun

    def move(self, source: str, target: str, seconds: float) -> None:
        """Count some of one phase's seconds as another's."""
        self.seconds[source] -= seconds
        self.seconds[target] = self.seconds.get(target, 0.0) + seconds

    def write(self, path: Path | None, gpus: int = 0, nodes: int = 1) -> None:
        """Write the job's record; `peak_rss_gib` adds the largest child to this process.

        `gpus` were held on all `nodes` together, cores on each as many as on this one.
        """
        if path is None:
            return
        peak = sum(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        record = {
            "rule": self._rule,
            "job": self._job,
            "started": self._started,
            "ended": time.time(),
            "seconds": self.seconds,
            "peak_rss_gib": peak / (1 << 20),  # ru_maxrss is in KiB, getrusage(2)
            "cores": nodes * self._cores,
            "gpus": gpus,
            "machine": machine.describe(gpus),
            "slurm_job": os.environ.get("SLURM_JOB_ID"),
            "loaded": _loaded(),
        }
        write_text(path, json.dumps(record, indent=1) + "\n")


def _cores() -> int:
    """Snakemake says so to every job; a script by itself has what it may run on."""
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(threads or len(os.sched_getaffinity(0)))


def _process_age() -> float:
    """Seconds since this process started: field 22 of /proc/self/stat, proc(5)."""
    ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def _loaded() -> dict[str, str]:
    """Versions of Python and of the packages that this process imported, as they name them."""
    versions = {
        name: vars(module).get("__version__")
        for name, module in sys.modules.items()
        if "." not in name and not name.startswith("_")
    }
    found = {name: said for name, said in sorted(versions.items()) if isinstance(said, str)}
    return {"python": platform.python_version()} | found
