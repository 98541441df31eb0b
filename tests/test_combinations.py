"""Any two options of an update together: it ends, learns, and goes on; or it is refused."""

import json
from collections.abc import Mapping
from itertools import product
from math import isnan
from pathlib import Path
from typing import Any

import combinations
import pytest
import torch
from combinations import OPTIONS, Metrics, Row, all_pairs, covering, makes_sense, pairs
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_algorithms import OF_ACTORS, OF_CRITICS
from transformers import AutoModelForCausalLM
from verl_toys import LORA, TORCHRUN, run_script

from agent.training.rejection_sampling import _NOT_MEASURED

ROWS = covering(OPTIONS, makes_sense)
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.booleans())
def test_every_two_values_meet_that_may(sizes: list[int], constrained: bool) -> None:
    options = {str(number): range(size) for number, size in enumerate(sizes)}

    def allowed(row: Mapping[str, Any]) -> bool:
        return not constrained or not row.get("0") or not row.get("1")

    rows = covering(options, allowed)
    met = {pair for row in rows for pair in pairs(row)}
    assert met == set(all_pairs(options, allowed))
    assert all(allowed(row) and list(row) == list(options) for row in rows)
    assert len(rows) <= len(list(product(*options.values())))


def test_few_rows_hold_all_pairs_of_options() -> None:
    met = {pair for row in ROWS for pair in pairs(row)}
    assert met == set(all_pairs(OPTIONS, makes_sense))
    assert len(ROWS) < 20


@pytest.fixture(scope="module")
def in_two_processes(
    reference: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[list[Metrics]]]:
    """All rows of two processes, whose start takes longer than an update."""
    rows = json.dumps([row for row in ROWS if row["processes"] == 2])
    folder = tmp_path_factory.mktemp("two")
    files = {"reference": reference, "output": folder, "rows": rows}
    return folder, run_script(combinations.__file__, *TORCHRUN, **files)


@pytest.mark.parametrize("row", [row for row in ROWS if row["processes"] == 1])
def test_one_process(row: Row, reference: Path, tmp_path: Path) -> None:
    check(row, reference, tmp_path, combinations.update_twice(reference, tmp_path, row))


@pytest.mark.parametrize(
    ("number", "row"), list(enumerate(row for row in ROWS if row["processes"] == 2))
)
def test_two_processes(
    number: int,
    row: Row,
    reference: Path,
    in_two_processes: tuple[Path, list[list[Metrics]]],
    tmp_path: Path,
) -> None:
    """Which learn what one process does."""
    folder, measured = in_two_processes
    check(row, reference, folder / str(number), measured[number])
    alone = combinations.update_twice(reference, tmp_path, row)
    close = 1e-3 if row["precision"] == "fp32" else 0.1
    for together, expected in zip(measured[number], alone, strict=True):
        assert together == pytest.approx(expected, rel=close, abs=close, nan_ok=True)


def check(row: Row, reference: Path, folder: Path, measured: list[Metrics]) -> None:
    """Nothing is missing from the metrics, weights moved that may, and what was saved is exact."""
    base, dtype = load_file(reference / "model.safetensors"), TYPES[row["precision"]]
    weights = {key: weight.to(dtype) for key, weight in base.items()}
    targets = LORA.targets if row["lora"] else ("",)
    for iteration, metrics in enumerate(measured, start=1):
        waits = iteration <= row["critic_warmup"] and row["advantage"] == "gae"
        missing = {name for name, number in metrics.items() if isnan(number)}
        assert missing == not_measured(row, waits)
        before, weights = weights, load_file(folder / str(iteration) / "model/model.safetensors")
        moved = {key for key in weights if not torch.equal(weights[key], before[key])}
        assert bool(moved) != waits
        assert all(any(target in key for target in targets) for key in moved)
        assert {weight.dtype for weight in weights.values()} == {dtype}
        AutoModelForCausalLM.from_pretrained(folder / str(iteration) / "model")
    if row["advantage"] != "rft":  # whose metrics do not compare with what was recorded
        error = measured[1]["rollout_logprob_difference"]
        assert error < (1e-5 if row["precision"] == "fp32" else 0.1)
        assert ("rollout_weight" in metrics) == bool(row["rollout_correction"])


def not_measured(row: Row, waits: bool) -> set[str]:
    if row["advantage"] == "rft":
        return set(_NOT_MEASURED)
    of_critics = set() if row["advantage"] == "gae" else set(OF_CRITICS)
    return of_critics | set(OF_ACTORS if waits else ())


FIRST = {option: values[0] for option, values in OPTIONS.items()}
REFUSED: list[tuple[Row, str]] = [
    *(
        ({"advantage": name, "critic_warmup": 1}, r"ppo\.critic_warmup is 1, but .* has no critic")
        for name in ("grpo", "rloo", "reinforce_plus_plus")
    ),
    *(
        ({"advantage": name, "tokens_per_process": 6}, r"update\.tokens_per_process is 6: raise it")
        for name in OPTIONS["advantage"]
    ),
]
# What one update began, and the next one does not go on with.
BROKEN_OFF: list[tuple[Row, Row, str]] = [
    ({"lora": True}, {"lora": False}, r"it was trained with {'rank': 4, .* continue as it began"),
    ({"lora": False}, {"lora": True}, r"it was trained with None, but update\.lora is {'rank': 4"),
    ({"advantage": "grpo"}, {"advantage": "gae"}, r"ppo\.advantage gae continues one: train again"),
    ({"advantage": "rft"}, {"advantage": "gae"}, r"so nothing to resume: give PPO's last"),
]


def test_what_makes_no_sense_is_refused_and_nothing_else() -> None:
    nonsense = {pair for pair in all_pairs(OPTIONS, lambda _: True) if not makes_sense(dict(pair))}
    refused = {frozenset(changes.items()) for changes, _ in REFUSED}
    assert nonsense == {pair for pair in refused if ("tokens_per_process", 6) not in pair}


@pytest.mark.parametrize(("changes", "complaint"), REFUSED)
def test_refused(changes: Row, complaint: str, reference: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=complaint) as refusal:
        combinations.update(reference, None, tmp_path / "out", FIRST | changes, 1)
    assert "\n" not in str(refusal.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("began", "goes_on", "complaint"), BROKEN_OFF)
def test_not_continued(
    began: Row, goes_on: Row, complaint: str, reference: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    combinations.update(reference, None, first, FIRST | began, 1)
    with pytest.raises((ValueError, FileNotFoundError), match=complaint) as refusal:
        combinations.update(reference, first, second, FIRST | goes_on, 2)
    assert "\n" not in str(refusal.value) and not second.exists()
