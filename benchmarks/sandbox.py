"""Starting programs: confined children of the warm fork server against new interpreters.

Every pair is measured in turn, so that both see the same machine.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from agent.sandbox.runner import CLEAN_ENVIRONMENT, ProgramLimits, WarmRunner

MODULES = ("numpy", "pandas", "sklearn.linear_model", "sklearn.ensemble")
IMPORTS = "import numpy, pandas, sklearn.linear_model, sklearn.ensemble\n"
FIRST_STATEMENT = "import time\nprint(time.monotonic())\n"
LOGISTIC = """\
import pandas as pd
from sklearn.linear_model import LogisticRegression
train = pd.read_csv("train.csv")
model = LogisticRegression().fit(train[["x"]], train["label"])
train.assign(label=model.predict(train[["x"]])).to_csv("submission.csv", index=False)
"""
# What an action of the embedded study is like: its middle program takes about as long.
FOREST = (
    LOGISTIC.replace("linear_model", "ensemble")
    .replace("LogisticRegression()", "LogisticRegression(40, random_state=0)")
    .replace("LogisticRegression", "RandomForestClassifier")
)
LIMITS = ProgramLimits(
    seconds=60.0,
    cpu_seconds=120.0,
    memory_mb=4096,
    processes=64,
    file_mb=16,
    scratch_mb=256,
    scratch_files=4096,
    output_kb=16,
)


def run() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        public = Path(folder)
        rows = "\n".join(f"{x % 37 - 18},{3 * x + x % 7},{int(x % 37 > 20)}" for x in range(300))
        (public / "train.csv").write_text(f"x,y,label\n{rows}\n")
        with (
            WarmRunner(LIMITS, MODULES) as confined,
            WarmRunner(LIMITS, MODULES, weakest="limits", strongest="limits") as free,
        ):
            confined.wait_until_ready()
            free.wait_until_ready()
            return _measure(confined, free, public)


def _measure(confined: WarmRunner, free: WarmRunner, public: Path) -> dict[str, float]:
    starts = sorted(_start_seconds(confined, public) for _ in range(300))
    cold_start = statistics.median(_cold_start_seconds(public) for _ in range(9))
    cold, warm = _pairs(lambda: _cold(public, LOGISTIC), lambda: confined.run(LOGISTIC, public), 9)
    layers, bare = _pairs(lambda: confined.run("", public), lambda: free.run("", public), 200)
    action = statistics.median(_seconds(lambda: confined.run(FOREST, public)) for _ in range(40))
    return {
        "start_p50_ms": 1e3 * starts[len(starts) // 2],
        "start_p99_ms": 1e3 * starts[int(len(starts) * 0.99)],
        "cold_start_over_warm": cold_start / starts[len(starts) // 2],
        "cold_over_warm_logistic_regression": cold / warm,
        "confinement_ms": 1e3 * (layers - bare),
        "confinement_share_of_action": (layers - bare) / action,
        "action_ms": 1e3 * action,
    }


def _start_seconds(runner: WarmRunner, public: Path) -> float:
    """From handing a program in to its first statement, libraries imported."""
    submitted = time.monotonic()
    return float(runner.run(FIRST_STATEMENT, public).output) - submitted


def _cold_start_seconds(public: Path) -> float:
    submitted = time.monotonic()
    return float(_cold(public, IMPORTS + FIRST_STATEMENT)) - submitted


def _cold(public: Path, program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, cwd=public, env=CLEAN_ENVIRONMENT, check=True, capture_output=True, text=True
    ).stdout


def _pairs(
    one: Callable[[], object], other: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """The median seconds of each, run in turn."""
    seconds = [(_seconds(one), _seconds(other)) for _ in range(repeats)]
    ones, others = zip(*seconds, strict=True)
    return statistics.median(ones), statistics.median(others)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
