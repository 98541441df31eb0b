"""Whether our engine judges as MLE-Dojo's own environment does: `make parity`.

    python -m parity [--checkout FOLDER] [--all] [--record]

Without a checkout (given, or in MLE_DOJO_CHECKOUT, or MLE-Dojo/checkout) our engine is compared
with what upstream's was recorded to say; with one, also with what it says now. `--all` tries every
competition of MLE-Dojo, else a few of each kind of metric; `--record` writes the record anew.
The last line is JSON. Exits with 1 when anything differs.
"""

import argparse
import json
import os
import sys
import warnings
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import mledojo_metrics

from parity import record
from parity.engines import judge_here, judge_upstream, play_here, play_upstream
from parity.worlds import (
    EMBEDDED,
    PER_FAMILY,
    ROOT,
    WITH_PROGRAMS,
    World,
    directions,
    families,
    open_embedded,
    open_upstream,
)

TOLERANCE = 1e-9  # between versions of libraries


@dataclass
class Findings:
    """What was judged and what differs."""

    competitions: set[str] = field(default_factory=set)
    cases: int = 0
    differences: list[str] = field(default_factory=list)

    def add(self, name: str, cases: int, differences: list[str]) -> None:
        self.competitions.add(name)
        self.cases += cases
        self.differences += differences
        print(*differences, sep="\n", end="\n" if differences else "", flush=True)


def main() -> int:
    options = argparse.ArgumentParser(prog="parity", description=(__doc__ or "").split("\n")[0])
    options.add_argument("--checkout", type=Path, help="a checkout of MLE-Dojo")
    options.add_argument("--all", action="store_true", help="every competition of MLE-Dojo")
    options.add_argument("--record", action="store_true", help="write upstream.jsonl anew")
    chosen = options.parse_args()
    checkout = chosen.checkout or find_checkout()
    if chosen.record and checkout is None:
        options.error("--record needs --checkout, or MLE_DOJO_CHECKOUT")
    warnings.simplefilter("ignore")  # of metrics, about our broken tables
    findings, loaded = Findings(), 0
    if checkout is not None:
        loaded = sum(isinstance(m, type) for m in mledojo_metrics.load_all(checkout).values())
        names = [*EMBEDDED, *_choose(everything=chosen.all or chosen.record)]
        entries = _compare_live(checkout, names, findings, chosen.record)
        if chosen.record:
            record.write(entries)
    _compare_recorded(findings, live=checkout is not None)
    result = {
        "competitions": len(findings.competitions),
        "cases": findings.cases,
        "differences": len(findings.differences),
        "metrics_loaded": loaded,
        "metrics_missing": len(families()) - loaded,
        "live": checkout is not None,
    }
    print(json.dumps(result))
    return 1 if findings.differences else 0


def find_checkout() -> Path | None:
    """The checkout that the machine has, unless MLE_DOJO_CHECKOUT is set and empty."""
    told = os.environ.get("MLE_DOJO_CHECKOUT")
    folder = ROOT / "MLE-Dojo/checkout" if told is None else Path(told)
    return folder.resolve() if told != "" and (folder / "mledojo").is_dir() else None


def _choose(everything: bool) -> list[str]:
    """Two of each kind of metric and direction, and those with programs; or everything."""
    higher, seen, names = directions(), Counter[tuple[str, bool]](), []
    for name, family in families().items():
        seen[family, higher[name]] += 1
        few = seen[family, higher[name]] <= PER_FAMILY
        if everything or few or name in WITH_PROGRAMS:
            names.append(name)
    return names


def _open(name: str, checkout: Path) -> AbstractContextManager[World]:
    return open_embedded(name) if name in EMBEDDED else open_upstream(checkout, name)


def _compare_live(
    checkout: Path, names: list[str], findings: Findings, recording: bool
) -> list[record.Entry]:
    """Both engines on every case; the recorded verdicts, unless new ones are being recorded."""
    before = {} if recording else record.read()
    entries = []
    for name in names:
        try:
            with _open(name, checkout) as world:
                entry, lines = _judge(world, checkout)
        except ValueError as cannot:
            print(f"not judged: {str(cannot).splitlines()[0][:200]}", flush=True)
            continue
        if name in before:
            lines += _since_recorded(before[name], entry)
        findings.add(name, len(entry.verdicts) + len(entry.programs), lines)
        entries.append(entry)
    return entries


def _judge(world: World, checkout: Path) -> tuple[record.Entry, list[str]]:
    name = world.competition.name
    theirs, places = judge_upstream(world.competition, checkout, world.submissions)
    lines = record.differences(name, judge_here(world.competition, world.submissions), theirs)
    programs = {}
    if name in WITH_PROGRAMS:
        programs = play_upstream(world.competition, checkout)
        lines += record.differences(name, play_here(world.competition), programs)
    return record.entry_of(world, theirs, places, programs), lines


def _since_recorded(before: record.Entry, now: record.Entry) -> list[str]:
    if before.digest != now.digest:
        return [f"{now.competition}: other submissions than recorded: run it with --record"]
    where = f"{now.competition}, recorded"
    lines = record.differences(where, before.verdicts, now.verdicts, TOLERANCE)
    return lines + record.differences(where, before.programs, now.programs, TOLERANCE)


def _compare_recorded(findings: Findings, live: bool) -> None:
    """Positions, formulas, and our engine where its own metrics are: what needs no checkout."""
    entries = record.read()
    for name, entry in entries.items():
        lines = record.misplaced(entry) + record.disagreements(entry)
        if entry.source == "embedded" and not live:
            with open_embedded(name) as world:
                ours = judge_here(world.competition, world.submissions)
                lines += record.differences(name, ours, entry.verdicts, TOLERANCE)
                if entry.programs:
                    ours = play_here(world.competition)
                    lines += record.differences(name, ours, entry.programs, TOLERANCE)
        seen = name in findings.competitions
        findings.add(name, 0 if seen else len(entry.verdicts) + len(entry.programs), lines)
    formulas = sum(bool(entry.files) for entry in entries.values())
    print(f"recorded: {len(entries)} competitions; textbook formulas give the scores of {formulas}")


if __name__ == "__main__":
    sys.exit(main())
