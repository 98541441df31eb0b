"""What MLE-Dojo's environment said, as one line of JSON per competition in upstream.jsonl.

Verdicts are recorded on every submission; answers and submissions only where a textbook formula
gives the same scores, so that it can be tried again without a checkout. Of the leaderboards the
record has their length and the two entries around each score.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.core.position import position_score
from parity.engines import Place, Verdict
from parity.formulas import FORMULAS, agrees
from parity.worlds import World

RECORD = Path(__file__).with_name("upstream.jsonl")
# Tables as a formula expects them: what a metric makes of others is its own decision.
PLAIN = ("given", "perfect", "constant", "noisy", "rolled")


@dataclass(frozen=True)
class Entry:
    """One competition's line."""

    competition: str
    source: str  # embedded | mle_dojo
    family: str
    higher_is_better: bool
    digest: str  # of all submissions
    verdicts: dict[str, Verdict]
    places: dict[str, list[Place]]  # of the scored ones
    programs: dict[str, Verdict]
    answers: str  # with files: empty unless a formula gives the recorded scores
    files: dict[str, str]


def entry_of(
    world: World,
    verdicts: dict[str, Verdict],
    places: dict[str, list[Place]],
    programs: dict[str, Verdict],
) -> Entry:
    competition = world.competition
    answers, files = "", {}
    if world.source == "mle_dojo" and world.family in FORMULAS:
        answers = competition.answers.to_csv(index=False)
        scored = [name for name in PLAIN if verdicts[name].status == "scored"]
        files = {name: world.submissions[name].decode() for name in scored}
    entry = Entry(
        competition.name,
        world.source,
        world.family,
        competition.metric.higher_is_better,
        digest(world.submissions),
        verdicts,
        places,
        programs,
        answers,
        files,
    )
    return entry if not disagreements(entry) else _without_tables(entry)


def _without_tables(entry: Entry) -> Entry:
    return Entry(**(vars(entry) | {"answers": "", "files": {}}))


def digest(files: Mapping[str, bytes]) -> str:
    sums = hashlib.blake2b(digest_size=8)
    for name in sorted(files):
        sums.update(name.encode() + b"\0" + files[name] + b"\0")
    return sums.hexdigest()


def write(entries: Iterable[Entry], path: Path = RECORD) -> None:
    lines = [json.dumps(_to_json(entry), separators=(",", ":")) for entry in entries]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(path: Path = RECORD) -> dict[str, Entry]:
    entries = [_from_json(json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    return {entry.competition: entry for entry in entries}


def _to_json(entry: Entry) -> dict[str, Any]:
    """Refused cases by their status alone, scored ones as a list."""
    facts = dict(vars(entry))
    places = facts.pop("places")
    facts["verdicts"] = {
        name: [found.raw, found.position, [astuple(place) for place in places[name]]]
        if found.status == "scored"
        else found.status
        for name, found in entry.verdicts.items()
    }
    facts["programs"] = {
        name: [found.raw, found.position] if found.status == "scored" else found.status
        for name, found in entry.programs.items()
    }
    return facts


def _from_json(facts: dict[str, Any]) -> Entry:
    scored = {name: found for name, found in facts["verdicts"].items() if isinstance(found, list)}
    places = {name: [Place(*place) for place in found[2]] for name, found in scored.items()}
    read = {
        key: {
            name: Verdict("scored", *found[:2])
            if isinstance(found, list)
            else Verdict(found, None, None)
            for name, found in facts[key].items()
        }
        for key in ("verdicts", "programs")
    }
    return Entry(**(facts | read), places=places)


def differences(
    where: str, ours: Mapping[str, Verdict], theirs: Mapping[str, Verdict], tolerance: float = 0.0
) -> list[str]:
    """One line for every case that the two do not judge the same."""
    lines = []
    for name in sorted({*ours, *theirs}):
        one, other = ours.get(name), theirs.get(name)
        if one is None or other is None or not _same(one, other, tolerance):
            lines.append(f"{where}, {name}: {one}, upstream {other}")
    return lines


def _same(one: Verdict, other: Verdict, tolerance: float) -> bool:
    if one.status != other.status or one.raw is None or other.raw is None:
        return one == other
    assert one.position is not None and other.position is not None
    return math.isclose(one.raw, other.raw, rel_tol=tolerance, abs_tol=tolerance) and math.isclose(
        one.position, other.position, rel_tol=tolerance
    )


def misplaced(entry: Entry) -> list[str]:
    """Scores to which our formula gives another position than upstream gave."""
    lines = []
    for name, places in entry.places.items():
        found = entry.verdicts[name]
        assert found.raw is not None
        boards = [_board(place) for place in places]
        ours = [position_score(found.raw, board, entry.higher_is_better) for board in boards]
        if len(boards) != 2 or float(np.mean(ours)) != found.position:
            lines.append(f"{entry.competition}, {name}: position {ours}, upstream {found}")
    return lines


def _board(place: Place) -> np.ndarray:
    """A leaderboard with as many better entries, and the same ones next to the score."""
    above = [place.above] * place.better
    return np.array(above + [place.below] * (place.entries - place.better), dtype=float)


def disagreements(entry: Entry) -> list[str]:
    """Recorded scores that the textbook formula does not give."""
    return [
        f"{entry.competition}, {name}: {entry.family} is not {entry.verdicts[name].raw}"
        for name, file in entry.files.items()
        if not agrees(entry.family, entry.answers, file, entry.verdicts[name].raw or 0.0)
    ]
