"""Run every benchmark and write one JSON each: `python -m benchmarks [NAME...]`.

Those that need a GPU run only by name.
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
    for name in names or sorted(BENCHMARKS):
        numbers = (BENCHMARKS | ON_GPUS)[name]()
        (RESULTS / f"{name}.json").write_text(json.dumps(numbers, indent=1) + "\n")
        print(name, json.dumps(numbers))
    print(f"benchmarks: {len(names or BENCHMARKS)} written to {RESULTS}")


if __name__ == "__main__":
    main(sys.argv[1:])
