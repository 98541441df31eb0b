"""Trajectory files: what is written is read, and what is not whole is named."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.actions import ACTIONS
from agent.core.records import SCHEMA_VERSION, Message, Trajectory, Turn
from agent.core.trajectories import SCHEMA, read_trajectories, write_trajectories

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
floats = st.floats(allow_nan=False)
scores = st.none() | st.floats(0, 1)
tokens = st.integers(0, 2**31 - 1)
turns = st.builds(
    Turn,
    action=st.sampled_from(ACTIONS),
    text=texts,
    outcome=st.sampled_from(["ok", "crashed", "unparsable"]),
    error=texts,
    observation=texts,
    raw_score=st.none() | floats,
    position_score=scores,
    submission=st.none() | st.binary(max_size=50),
    generate_seconds=floats,
    execute_seconds=floats,
    grade_seconds=floats,
    hack_attempts=st.lists(st.text(max_size=20), max_size=3).map(tuple),
    first_token=tokens,
    last_token=tokens,
)


@st.composite
def trajectories(draw) -> Trajectory:
    size = draw(st.integers(0, 12))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return Trajectory(
        competition=draw(texts),
        group="train",
        policy=draw(texts),
        seed=draw(st.integers(0, 2**62)),
        iteration=draw(st.integers(0, 99)),
        shard=draw(st.integers(0, 99)),
        episode=draw(st.integers(0, 99)),
        messages=tuple(draw(st.lists(st.builds(Message, st.just("user"), texts), max_size=3))),
        turns=tuple(draw(st.lists(turns, min_size=1, max_size=3))),
        token_ids=rng.integers(0, 2**31 - 1, size, dtype=np.int32),
        action_mask=rng.integers(0, 2, size, dtype=np.int8),
        logprobs=rng.normal(-5, 5, size).astype(np.float32),
        temperature=draw(floats),
        stop_reason=draw(st.sampled_from(["max_turns", "context", "seconds"])),
        sandbox="limits",
    )


TURN = Turn("execute_code", "text", "ok", "", "seen", 0.5, 0.25, b"id\n\x00\xff", 1, 2, 3, (), 0, 4)
EPISODE = Trajectory(
    competition="wine",
    group="train",
    policy="0123456789abcdef",
    seed=1,
    iteration=2,
    shard=3,
    episode=4,
    messages=(Message("system", "be good"), Message("user", "task")),
    turns=(TURN, dataclasses.replace(TURN, raw_score=None, position_score=None, submission=None)),
    token_ids=np.arange(40, dtype=np.int32),
    action_mask=np.tile(np.int8([0, 1]), 20),
    logprobs=np.linspace(-9, 0, 40, dtype=np.float32),
    temperature=1.0,
    stop_reason="max_turns",
    sandbox="limits",
)


def assert_same(left: Sequence[Trajectory], right: Sequence[Trajectory]) -> None:
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        for field in dataclasses.fields(Trajectory):
            mine, theirs = getattr(one, field.name), getattr(other, field.name)
            if isinstance(mine, np.ndarray):
                assert mine.dtype == theirs.dtype and np.array_equal(mine, theirs)
            else:
                assert mine == theirs and type(mine) is type(theirs)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "shard0.parquet"
    write_trajectories(path, [EPISODE] * 3, {"commit": "abc"})
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ValueError) as refused:
        read_trajectories(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert message.endswith("delete it and run the workflow again to play it anew")
    return message


@settings(max_examples=50)
@given(st.lists(trajectories(), min_size=1, max_size=3))
def test_what_is_written_is_read(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("shard") / "shard0.parquet"
    write_trajectories(path, written, {})
    assert_same(read_trajectories(path), written)


def test_the_same_episodes_give_the_same_bytes(tmp_path, shard):
    again = tmp_path / "again.parquet"
    write_trajectories(again, [EPISODE] * 3, {"commit": "abc"})
    assert again.read_bytes() == shard.read_bytes()


def test_pandas_reads_a_shard(shard):
    table = pd.read_parquet(shard)
    assert list(table.columns) == SCHEMA.names and len(table) == 3
    first = table.iloc[0]
    assert first["token_ids"].tolist() == EPISODE.token_ids.tolist()
    assert [turn["position_score"] for turn in first["turns"]] == [0.25, None]
    assert first["turns"][0]["submission"] == TURN.submission


def test_the_facts_and_the_version_are_in_the_file(shard):
    metadata = pq.read_schema(shard).metadata
    assert metadata[b"commit"] == b"abc"
    assert metadata[b"trajectory_schema_version"] == str(SCHEMA_VERSION).encode()


def test_the_schema_names_every_field_of_the_records():
    assert SCHEMA.names == [field.name for field in dataclasses.fields(Trajectory)]
    turn = SCHEMA.field("turns").type.value_type
    assert [field.name for field in turn] == [field.name for field in dataclasses.fields(Turn)]


def test_a_path_that_looks_like_a_partition_adds_no_column(tmp_path):
    path = tmp_path / "seed=5" / "shard0.parquet"
    write_trajectories(path, [EPISODE], {})
    assert_same(read_trajectories(path), [EPISODE])


def test_writing_again_replaces_the_file_and_leaves_nothing_beside_it(tmp_path, shard):
    write_trajectories(shard, [EPISODE], {})
    assert len(read_trajectories(shard)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [shard.name]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_named(shard, share):
    content = shard.read_bytes()
    shard.write_bytes(content[: int(share * len(content))])
    assert "damaged trajectory file (" in refusal(shard)


def test_a_damaged_file_is_named_or_reads_the_same(shard, rng):
    content = shard.read_bytes()
    refused = 0
    for start in rng.integers(0, len(content) - 16, size=60):
        shard.write_bytes(content[:start] + rng.bytes(16) + content[start + 16 :])
        try:
            assert_same(read_trajectories(shard), [EPISODE] * 3)
        except ValueError:
            refusal(shard)
            refused += 1
    assert refused > 30


@pytest.mark.parametrize("content", [b"", b"not parquet at all", b"PAR1PAR1", b"PAR1" * 9])
def test_what_is_no_parquet_is_named(shard, content):
    shard.write_bytes(content)
    assert "damaged trajectory file (" in refusal(shard)


@pytest.mark.parametrize("damage", ["no version", "other version", "missing column", "other type"])
def test_a_foreign_schema_is_named(shard, damage):
    table = pq.read_table(shard)
    if damage == "missing column":
        table = table.drop_columns(["sandbox"])
    elif damage == "other type":
        seeds = table["seed"].cast(pa.string())
        table = table.set_column(table.schema.get_field_index("seed"), "seed", seeds)
    elif damage == "other version":
        table = table.replace_schema_metadata({"trajectory_schema_version": "0"})
    else:
        table = table.replace_schema_metadata({})
    pq.write_table(table, shard)
    assert "trajectory schema" in refusal(shard)


def test_a_file_without_episodes_is_named(shard):
    pq.write_table(pq.read_table(shard).slice(0, 0), shard)
    assert "holds no episode" in refusal(shard)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"shard9\.parquet: no such trajectory file"):
        read_trajectories(tmp_path / "shard9.parquet")


def test_an_empty_shard_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="refusing to write a shard without episodes"):
        write_trajectories(tmp_path / "shard0.parquet", [], {})
    assert list(tmp_path.iterdir()) == []


def test_an_episode_without_turns_is_not_written(tmp_path):
    silent = dataclasses.replace(EPISODE, turns=())
    with pytest.raises(ValueError, match=r"episodes \[4\] have no turns"):
        write_trajectories(tmp_path / "shard0.parquet", [EPISODE, silent], {})
    assert list(tmp_path.iterdir()) == []
