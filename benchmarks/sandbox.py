"""How much sooner a program runs in a child of the warm fork server than in a new interpreter."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from agent.sandbox.runner import CLEAN_ENVIRONMENT, ProgramLimits, WarmRunner

MODULES = ("numpy", "pandas", "sklearn.linear_model")
PROGRAM = """\
import pandas as pd
from sklearn.linear_model import Ridge
train = pd.read_csv("train.csv")
model = Ridge().fit(train[["x"]], train["y"])
train.assign(y=model.predict(train[["x"]])).to_csv("submission.csv", index=False)
"""
REPEATS = 15


def run() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        public = Path(folder)
        rows = "\n".join(f"{x},{3 * x + x % 7}" for x in range(200))
        (public / "train.csv").write_text(f"x,y\n{rows}\n")
        with WarmRunner(ProgramLimits(60, 4096, 16, 16), MODULES) as runner:
            runner.wait_until_ready()
            warm, cold = [], []
            for _ in range(REPEATS):  # in turn, so that both see the same machine
                warm.append(_seconds(lambda: runner.run(PROGRAM, public)))
                cold.append(_seconds(lambda: _run_cold(public)))
    return {
        "warm_median_seconds": statistics.median(warm),
        "cold_median_seconds": statistics.median(cold),
        "cold_over_warm": statistics.median(c / w for c, w in zip(cold, warm, strict=True)),
    }


def _run_cold(public: Path) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=public, env=CLEAN_ENVIRONMENT, check=True)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
