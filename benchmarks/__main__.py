"""Run every benchmark and write one JSON each: `python -m benchmarks [NAME...]`.

Those that need a GPU run only by name. Those that have a target say whether it was `met`; if not,
the exit status is 1.
"""

import json
import sys
from pathlib import Path

from benchmarks import concurrency, coverage, engines, gpu_update, planning, sampling, sandbox

BENCHMARKS = {
    "concurrency": concurrency.run,
    "coverage": coverage.run,
    "engines": engines.run,
    "planning": planning.run,
    "sampling": sampling.run,
    "sandbox": sandbox.run,
}
ON_GPUS = {"gpu_update": gpu_update.run}
RESULTS = Path("results/benchmarks")


def main(names: list[str]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    missed = []
    for name in names or sorted(BENCHMARKS):
        numbers = (BENCHMARKS | ON_GPUS)[name]()
        (RESULTS / f"{name}.json").write_text(json.dumps(numbers, indent=1) + "\n")
        print(name, json.dumps(numbers))
        if not numbers.get("met", True):
            missed.append(name)
    said = f"targets missed: {', '.join(missed)}" if missed else "every target met"
    print(f"benchmarks: {len(names or BENCHMARKS)} written to {RESULTS}; {said}")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main(sys.argv[1:])
