"""Run every benchmark and write one JSON each: `python -m benchmarks [NAME...]`."""

import json
import sys
from pathlib import Path

from benchmarks import concurrency, coverage, engines, planning, sampling, sandbox

BENCHMARKS = {
    "concurrency": concurrency.run,
    "coverage": coverage.run,
    "engines": engines.run,
    "planning": planning.run,
    "sampling": sampling.run,
    "sandbox": sandbox.run,
}
RESULTS = Path("results/benchmarks")


def main(names: list[str]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in names or sorted(BENCHMARKS):
        numbers = BENCHMARKS[name]()
        (RESULTS / f"{name}.json").write_text(json.dumps(numbers, indent=1) + "\n")
        print(name, json.dumps(numbers))
    print(f"benchmarks: {len(names or BENCHMARKS)} written to {RESULTS}")


if __name__ == "__main__":
    main(sys.argv[1:])
