"""Tables on which MLE-Dojo's metrics can be tried without any data.

`load_all` loads the metric class of every competition of a checkout. `synthesise` makes a pair of
answers and submission that a metric accepts and scores: it proposes tables, the metric objects (an
exception names a column, or refuses the values), and the proposal is mended or the next kind of
values is tried. What no proposal can guess is a fact about the competition, in `HINTS`.
"""

import ast
import contextlib
import importlib
import io
import math
import re
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROWS = 24
ATTEMPTS = 12  # proposals per kind of values, each with more columns right than the last
PLACEHOLDER = "id"
Metric = Any  # an instance of a class of the checkout, which this project never imports by name
Rng = np.random.Generator
Columns = list[list[Any]]
Kind = Callable[[Rng, int], tuple[Columns, Columns]]  # (rng, columns) -> truths and predictions


@dataclass(frozen=True)
class Proposal:
    """Columns of a pair of tables."""

    keys: tuple[str, ...] = (PLACEHOLDER,)  # come first and are equal in both
    targets: tuple[str, ...] = ()  # hold values of one kind
    kind: str = ""
    key: Callable[[int], Any] = int  # of a row, counted from 1
    renamed: tuple[tuple[str, str], ...] = ()  # target: its name in the submission
    given: tuple[tuple[str, tuple[Any, ...]], ...] = ()  # answers only; values are repeated


def load_all(checkout: Path) -> dict[str, type | str]:
    """The metric class of every competition, or the package without which it cannot be loaded."""
    return {slug: load_metric(checkout, slug) for slug in slugs(checkout)}


def slugs(checkout: Path) -> list[str]:
    found = (checkout / "mledojo/competitions").glob("*/utils/metric.py")
    return sorted(path.parents[1].name for path in found)


def load_metric(checkout: Path, slug: str) -> type | str:
    with _importable(checkout) as competitions, contextlib.redirect_stderr(io.StringIO()) as said:
        metric = competitions.get_metric(slug)
    if metric is not None:
        return metric
    missing = re.search(r"No module named '(\w+)", said.getvalue())
    return f"needs package {missing[1]}" if missing else said.getvalue().strip()


@contextlib.contextmanager
def _importable(checkout: Path) -> Iterator[Any]:
    """The checkout on the import path, and no compiled file written into it."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(checkout))
    try:
        yield importlib.import_module("mledojo.competitions")
    finally:
        sys.path.remove(str(checkout))
        sys.dont_write_bytecode = before


def synthesise(slug: str, metric: Metric) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Answers and an imperfect submission that `metric` accepts and scores with a finite number.

    A pair is taken only if the metric places the answers themselves above the submission. Raises
    ValueError with the objections, one per kind of values, when there is none.
    """
    hint = HINTS.get(slug, Proposal(targets=default_targets(metric)))
    objections = {}
    for kind in [hint.kind] if hint.kind else KINDS:
        proposal = replace(hint, kind=kind)
        for _ in range(ATTEMPTS):
            answers, submission, perfect = build(proposal, slug)
            objection = objection_of(metric, answers, submission, perfect)
            if objection is None:
                return answers, submission
            objections[kind] = objection
            mended = mend(proposal, objection, metric)
            if mended in (None, proposal):
                break
            proposal = mended
    raise ValueError(f"{slug}: {objections}")


def default_targets(metric: Metric) -> tuple[str, ...]:
    """The column or columns a metric is constructed with; any will do where there are none."""
    value = metric.value or ("a", "b", "c")
    return (value,) if isinstance(value, str) else tuple(value)


def score(metric: Metric, answers: pd.DataFrame, submission: pd.DataFrame) -> float:
    """Validate and evaluate as MLE-Dojo does, on copies, since many metrics change their input."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric.validate_submission(submission.copy(), answers.copy())
        return float(metric.evaluate(answers.copy(), submission.copy()))


def objection_of(
    metric: Metric, answers: pd.DataFrame, submission: pd.DataFrame, perfect: pd.DataFrame
) -> str | None:
    """What is wrong with a pair, in the metric's own words where it has any."""
    try:
        reached, best = (score(metric, answers, table) for table in (submission, perfect))
    except Exception as refused:
        return f"{type(refused).__name__}: {refused}"
    if not (math.isfinite(reached) and math.isfinite(best)):
        return f"scores {reached}, and {best} for the answers themselves"
    better = best > reached if metric.higher_is_better else best < reached
    return None if better else f"scores {reached}, and {best} for the answers themselves"


def mend(proposal: Proposal, objection: str, metric: Metric) -> Proposal | None:
    """The proposal with the columns an objection asks for; None when it is about the values."""
    lists = re.findall(r"(missing|extra|unexpected)[^:]*: ([^.]*)", objection, re.IGNORECASE)
    if lists:
        for complaint, names in lists:
            named = tuple(re.sub(r"[\[\]'\"{}()]", "", names).split(", "))
            proposal = (with_columns if complaint.lower() == "missing" else without)(
                proposal, named, metric
            )
        return proposal
    words = [name for name in names_in(metric) if re.search(rf"\b{re.escape(name)}\b", objection)]
    if re.search(r"match|identical|same order", objection):
        return as_keys(proposal, words, metric)
    if "Key" in objection or re.search("column|must|required", objection):
        return with_columns(proposal, tuple(words), metric)
    return None


def names_in(metric: Metric) -> list[str]:
    """Texts in a metric's source that could name a column, in the order they appear."""
    source = Path(sys.modules[type(metric).__module__].__file__ or "").read_text()
    texts = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    return [t for t in dict.fromkeys(texts) if isinstance(t, str) and re.fullmatch(r"[\w&-]+", t)]


def with_columns(proposal: Proposal, names: tuple[str, ...], metric: Metric) -> Proposal:
    """New columns: keys if they are called so, targets otherwise, in the order of the source.

    If none is new, what was too much is the placeholder.
    """
    known = names_in(metric)
    new = {*names} - {*proposal.keys, *proposal.targets}
    if not new:
        return without(proposal, (PLACEHOLDER,), metric)
    ordered = sorted(new, key=lambda name: (known.index(name) if name in known else 0, name))
    keys = [name for name in ordered if re.search(r"^id_|id$", name, re.IGNORECASE)]
    targets = [name for name in ordered if name not in keys]
    return replace(proposal, keys=(*proposal.keys, *keys), targets=(*proposal.targets, *targets))


def without(proposal: Proposal, names: tuple[str, ...], metric: Metric) -> Proposal:
    keys = tuple(name for name in proposal.keys if name not in names)
    targets = tuple(name for name in proposal.targets if name not in names)
    if not keys and targets:
        return as_keys(replace(proposal, keys=(), targets=targets), [], metric)
    return replace(proposal, keys=keys, targets=targets)


def as_keys(proposal: Proposal, named: list[str], metric: Metric) -> Proposal:
    """Targets that an objection to unequal values names are keys; failing that, the likeliest."""
    values = default_targets(metric)
    likely = [name for name in proposal.targets if name in named]
    likely = likely or [name for name in proposal.targets if name not in values]
    keys = [name for name in likely if name in named] or likely[:1]
    return replace(
        proposal,
        keys=(*keys, *proposal.keys),
        targets=tuple(name for name in proposal.targets if name not in keys),
    )


def build(proposal: Proposal, slug: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Answers, a submission of which a third is right, and one that is all right."""
    rng = np.random.default_rng(zlib.crc32(slug.encode()))
    if slug in PAIRS:
        return PAIRS[slug](rng)
    truths, predictions = KINDS[proposal.kind](rng, len(proposal.targets))
    rows = range(1, ROWS + 1)
    keys = {key: [proposal.key(row) for row in rows] for key in proposal.keys}
    answers, submission, perfect = dict(keys), dict(keys), dict(keys)
    for name, truth, prediction in zip(proposal.targets, truths, predictions, strict=True):
        submitted = dict(proposal.renamed).get(name, name)
        submission[submitted] = a_third_right(truth, prediction)
        answers[name] = perfect[submitted] = truth
    given = {name: (list(values) * ROWS)[:ROWS] for name, values in proposal.given}
    return pd.DataFrame(answers | given), pd.DataFrame(submission), pd.DataFrame(perfect)


def a_third_right(truth: list[Any], prediction: list[Any]) -> list[Any]:
    return [truth[row] if row % 3 == 0 else prediction[row] for row in range(ROWS)]


def _shuffled(values: Any) -> Kind:
    """Each prediction column is a permutation of its truth."""

    def kind(rng: Rng, columns: int) -> tuple[Columns, Columns]:
        truths = [list(rng.permutation(values)) for _ in range(columns)]
        return truths, [list(rng.permutation(truth)) for truth in truths]

    return kind


def _drawn(draw: Callable[[Rng], Any]) -> Kind:
    def kind(rng: Rng, columns: int) -> tuple[Columns, Columns]:
        truths, predictions = (
            [[draw(rng) for _ in range(ROWS)] for _ in range(columns)] for _ in range(2)
        )
        return truths, predictions

    return kind


def _probabilities(rng: Rng, columns: int) -> tuple[Columns, Columns]:
    truths, _ = KINDS["classes"](rng, columns)
    return truths, [list(rng.uniform(0.05, 0.95, ROWS).round(3)) for _ in truths]


def _one_hot(rng: Rng, columns: int) -> tuple[Columns, Columns]:
    """Exactly one column is right in each row, and probabilities sum to one."""
    if not columns:
        return [], []
    label = rng.permutation(np.arange(ROWS) % columns)
    guess = rng.dirichlet(np.ones(columns), ROWS)
    return [list((label == at).astype(int)) for at in range(columns)], list(map(list, guess.T))


def _words(rng: Rng, words: str) -> str:
    return " ".join(rng.permutation(words.split()))


def _box(rng: Rng, before: str) -> str:
    x, y = rng.integers(10, 14, 2)
    return f"{before} {x} {y} {x + 20} {y + 20}"


KINDS: dict[str, Kind] = {
    "probabilities": _probabilities,
    "one_hot": _one_hot,
    "classes": _shuffled([0, 1] * (ROWS // 2)),
    "grades": _shuffled([1, 2, 3, 4] * (ROWS // 4)),
    "amounts": _drawn(lambda rng: round(float(rng.uniform(1, 9)), 3)),
    "letters": _shuffled(["a", "b", "c"] * (ROWS // 3)),
    "words": _drawn(lambda rng: _words(rng, "a b c d e")),
    "numbers": _drawn(lambda rng: _words(rng, "1 2 3 4 5")),
    "runs": _drawn(lambda rng: f"{rng.integers(1, 9)} 9 {rng.integers(20, 29)} 5"),
    "spans": _drawn(lambda rng: f"{rng.integers(1, 5)} {rng.integers(8, 12)}"),
    "lists": _drawn(lambda rng: str(_words(rng, "a b c").split())),
    "boxes": _drawn(lambda rng: _box(rng, "1.0")),
    "named_boxes": _drawn(lambda rng: _box(rng, f"{rng.integers(0, 2)} 1.0")),
}


def _two_classes(rng: Rng) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The answer is a class, the submission a probability for each."""
    (truth,), (guess,) = _probabilities(rng, 1)
    key = {"Id": range(1, ROWS + 1)}

    def submitted(chance: list[Any]) -> pd.DataFrame:
        return pd.DataFrame(key | {"class_0": 1 - np.array(chance), "class_1": chance})

    answers = pd.DataFrame(key | {"Class": truth})
    return answers, submitted(a_third_right(truth, guess)), submitted(truth)


def _boxes_and_points(rng: Rng) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The answer is a label and a box, the submission a label and a point, right if inside."""
    key = {"image_id": range(1, ROWS + 1)}
    corners = rng.integers(10, 90, (ROWS, 2))
    boxes = [f"a {x} {y} 5 5" for x, y in corners]
    inside = [f"a {x + 2} {y + 2}" for x, y in corners]
    mixed = a_third_right(inside, [f"a {x + 9} {y}" for x, y in corners])
    answers, submission, perfect = (
        pd.DataFrame(key | {"labels": labels}) for labels in (boxes, mixed, inside)
    )
    return answers, submission, perfect


HINTS: dict[str, Proposal] = {
    "bengaliai-cv19": Proposal(
        ("row_id",),
        ("target",),
        "classes",
        lambda row: (
            f"Test_{row}_" + ("grapheme_root", "consonant_diacritic", "vowel_diacritic")[row % 3]
        ),
    ),
    "champs-scalar-coupling": Proposal(
        targets=("scalar_coupling_constant",), given=(("type", ("1JHC", "2JHH")),)
    ),
    "detecting-insults-in-social-commentary": Proposal(
        ("Date", "Comment", "Usage"), ("Insult",), "probabilities"
    ),
    "flavours-of-physics-kernels-only": Proposal(
        targets=("prediction",), given=(("min_ANNmuon", (0.5, 0.6)),)
    ),
    "icr-identify-age-related-conditions": Proposal(kind="probabilities"),
    "jigsaw-unintended-bias-in-toxicity-classification": Proposal(
        targets=("toxicity",),
        kind="probabilities",
        renamed=(("toxicity", "prediction"),),
        given=(("female", (1, 1, 1, 0)), ("muslim", (0, 1, 1))),
    ),
    "kuzushiji-recognition": Proposal(kind="boxes"),
    "osic-pulmonary-fibrosis-progression": Proposal(
        ("Patient_Week",), ("FVC", "Confidence"), "amounts", lambda row: f"patient_{row}",
        given=(("Patient", ("a", "b", "c", "d", "e", "f", "g", "h")),),
    ),
    "quora-insincere-questions-classification": Proposal(
        ("qid",), ("target",), "classes", renamed=(("target", "prediction"),)
    ),
    "sf-crime": Proposal(("Id",), ("ARSON", "ASSAULT", "BURGLARY")),
    "the-nature-conservancy-fisheries-monitoring": Proposal(
        ("image",), ("ALB", "BET", "DOL", "LAG", "NoF", "OTHER", "SHARK", "YFT")
    ),
    "the-winton-stock-market-challenge": Proposal(
        ("Id",), ("Predicted",), "amounts", lambda row: f"1_{row + 38}",
        given=(("Weight_Intraday", (1, 2)), ("Weight_Daily", (3, 4))),
    ),
}  # fmt: skip
PAIRS: dict[str, Callable[[Rng], tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]]] = {
    "icr-identify-age-related-conditions": _two_classes,
    "kuzushiji-recognition": _boxes_and_points,
}
