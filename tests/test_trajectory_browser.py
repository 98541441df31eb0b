"""The trajectory browser as files: nothing is lost, nothing differs, and nothing gets out."""

import base64
import functools
import hashlib
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browsable import ANSWERS, ATTACKS, TRICKS, build, byte_tokenizer, episode, turn, write_study
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from agent.browser.episodes import Episode, index_row, transcript
from agent.browser.folder import CHUNK_CHARACTERS, CHUNK_EPISODES, PAGE, write_browser
from agent.browser.tokens import Tokens
from agent.core.trajectories import read_trajectories

# U+FFFD itself is left out: it is what a tokenizer writes for bytes that are no character yet.
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    return folder


@pytest.fixture(scope="module")
def page(study: Path) -> Path:
    said = build(study, study / "page")
    assert said.startswith("45 episodes: open"), said
    return study / "page"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Tokens]:
    file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    return byte_tokenizer(file), Tokens(file)


@functools.cache
def unpacked(file: Path) -> Any:
    handover = re.fullmatch(r'receive\("([\w]+)", "([A-Za-z0-9+/=]+)"\);\n', file.read_text())
    assert handover and handover[1] == file.stem
    return json.loads(zlib.decompress(base64.b64decode(handover[2])))


def index(page: Path) -> pd.DataFrame:
    columns = dict(unpacked(page / "index.js")["columns"])
    for key, column in columns.items():
        if isinstance(column, dict):
            name = column["names"].__getitem__
            columns[key] = [
                [name(text) for text in code] if isinstance(code, list) else name(code)
                for code in column["codes"]
            ]
    return pd.DataFrame(columns)


def played(page: Path, row: pd.Series) -> dict[str, Any]:
    chunk, place = row["place"]
    return unpacked(page / f"episodes/{chunk:04}.js")[place]


def test_every_score_of_the_study_is_on_the_page_once(study: Path, page: Path) -> None:
    files = [*study.glob("evaluation/**/scores.csv"), study / "evaluation/yardsticks.csv"]
    keys = ["policy", "seed", "iteration", "competition", "number", "score"]
    scores = pd.concat([pd.read_csv(file) for file in files]).rename(columns={"episode": "number"})
    rows = index(page).query("source != 'training'")
    pd.testing.assert_frame_equal(
        rows[keys].sort_values(keys, ignore_index=True),
        scores[keys].sort_values(keys, ignore_index=True),
        check_dtype=False,
    )


def test_every_turn_of_the_study_is_on_the_page_unchanged(study: Path, page: Path) -> None:
    rows = index(page)
    rows = rows.set_index(rows["folder"] + "/" + rows["number"].astype(str))
    openings = unpacked(page / "episodes/openings.js")
    turns = 0
    for file in study.rglob("*.parquet"):
        for t in read_trajectories(file):
            place = file.parent.relative_to(study)
            if "trajectories" in place.parts:
                place = f"training/{place.parent}/shard0"
            shown = played(page, rows.loc[f"{place}/{t.episode}"])
            assert openings[shown["opening"]] == [[m.role, m.content] for m in t.messages[:2]]
            assert shown["checkpoint"] == t.policy and shown["sandbox"] == t.sandbox
            for told, made in zip(shown["turns"], t.turns, strict=True):
                assert told["text"] == made.text and told["observation"] == made.observation
                assert told["position"] == made.position_score and told["error"] == made.error
                assert told["hack_attempts"] == list(made.hack_attempts)
                recorded = t.logprobs[made.first_token : made.last_token]
                assert np.allclose(np.array(told["logprobs"]) / 100, recorded, atol=0.005)
                turns += 1
    assert turns == 2 * 30 + 8 + 4


@pytest.mark.parametrize(("staleness", "seen"), [(0, {1: 0, 2: 1}), (1, {1: 0, 2: 0})])
def test_training_episodes_are_under_the_policy_that_played_them(
    study: Path, tmp_path: Path, staleness: int, seen: dict[int, int]
) -> None:
    build(study, tmp_path / "page", "--staleness", str(staleness))
    rows = index(tmp_path / "page").query("source == 'training'")
    iterations = rows["folder"].str.extract(r"iteration(\d+)")[0].astype(int)
    assert rows["iteration"].tolist() == iterations.map(seen).tolist()
    assert (rows["policy"] == "base").tolist() == (rows["iteration"] == 0).tolist()


def test_rewards_are_those_of_the_update(page: Path) -> None:
    rows = index(page)
    base = rows.query("source == 'evaluation' and policy == 'base' and number == 0").iloc[0]
    assert [turn["reward"] for turn in played(page, base)["turns"]] == [-0.05, 0.1]
    assert base["reward"] == 0.05
    hostile = rows[rows["folder"].str.startswith("training") & (rows["number"] == 4)].iloc[0]
    assert [turn["reward"] for turn in played(page, hostile)["turns"]] == [-0.05, -0.1, -0.05, 0.9]


def test_the_same_study_gives_the_same_bytes(study: Path, page: Path, tmp_path: Path) -> None:
    build(study, tmp_path / "again")
    files = sorted(path.relative_to(page) for path in page.rglob("*.*"))
    assert len(files) >= 4
    assert files == sorted(p.relative_to(tmp_path / "again") for p in (tmp_path).rglob("*.*"))
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (page / file).read_bytes(), file


def test_nothing_a_model_wrote_is_part_of_any_markup_or_script(page: Path) -> None:
    texts = [path.read_text() for path in page.rglob("*.*")]
    for attack in (*ATTACKS, TRICKS[:6], "hacked", "KeyError"):
        assert not [text for text in texts if attack in text]
    for path in [page / "index.js", *page.glob("episodes/*.js")]:
        unpacked(path)  # one call with two harmless strings, and nothing else


def test_only_the_pages_own_script_and_style_may_run(page: Path) -> None:
    document = (page / "index.html").read_text()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]+)"', document)
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", document, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    assert not re.search(r"\son\w+=|\sstyle=|https?://|\b(src|href)=\"(?!#|data:,)", document)


def test_the_script_never_parses_markup() -> None:
    for path in PAGE.glob("*.js"):
        forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\("
        assert not re.search(forbidden, path.read_text()), path.name


def test_episodes_are_kept_in_chunks_and_none_is_lost(
    tmp_path: Path, tokenizer: tuple[Tokenizer, Tokens]
) -> None:
    made, tokens = tokenizer
    # The one in the middle fills a chunk by itself.
    sizes = [10] * (CHUNK_EPISODES + 3) + [CHUNK_CHARACTERS] + [10] * CHUNK_EPISODES
    episodes = [
        one_episode(number, episode(made, [turn("a" * size, 0.5)], token_ids=np.int32([])))
        for number, size in enumerate(sizes)
    ]
    assert write_browser(tmp_path / "page", "many", episodes, tokens, ANSWERS) == len(sizes)
    lengths = [len(unpacked(file)) for file in sorted((tmp_path / "page/episodes").glob("0*.js"))]
    assert lengths == [CHUNK_EPISODES, 4, CHUNK_EPISODES]
    rows = index(tmp_path / "page")
    found = [len(played(tmp_path / "page", row)["turns"][0]["text"]) for _, row in rows.iterrows()]
    assert found == sizes


def one_episode(number: int, trajectory: Any, rewards: tuple[float, ...] = (0.5,)) -> Episode:
    return Episode(
        source="training",
        folder="training/seed0/iteration1/shard0",
        number=number,
        group="train",
        competition="engel-mae-outliers",
        policy="base",
        seed=0,
        iteration=0,
        score=None,
        first_score=None,
        trajectory=trajectory,
        rewards=rewards,
    )


def test_without_an_episode_there_is_no_page(
    tmp_path: Path, tokenizer: tuple[Tokenizer, Tokens]
) -> None:
    with pytest.raises(ValueError, match="no episode to show"):
        write_browser(tmp_path / "page", "none", [], tokenizer[1], ANSWERS)
    assert not list(tmp_path.iterdir())


def test_scores_without_their_episodes_are_refused(tmp_path: Path) -> None:
    write_study(tmp_path)
    scores = tmp_path / "evaluation/seed1/iteration0/held_out/scores.csv"
    pd.read_csv(scores).iloc[1:].to_csv(scores, index=False)
    said = build(tmp_path, tmp_path / "page")
    assert said.startswith("error: ") and "scores.csv and episodes.parquet differ" in said
    assert not (tmp_path / "page").exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(LETTERS, max_size=30), stopped=st.booleans())
def test_tokens_cover_the_text(
    tokenizer: tuple[Tokenizer, Tokens], text: str, stopped: bool
) -> None:
    made, tokens = tokenizer
    ids = made.encode(text).ids + [made.token_to_id("<|end|>")] * stopped
    lengths = tokens.lengths(ids, text, "a test") if ids else []
    assert len(lengths) == len(ids)
    assert sum(lengths) == len(text.encode("utf-16-le")) // 2
    # A character belongs to the token that completes it, and to no other.
    ends = np.cumsum([len(c.encode()) for c in text])
    owners = {
        int(end) - 1: len(c.encode("utf-16-le")) // 2 for c, end in zip(text, ends, strict=True)
    }
    assert {at: length for at, length in enumerate(lengths) if length} == owners


def test_half_a_character_is_shown_with_the_token_that_left_it(
    tokenizer: tuple[Tokenizer, Tokens],
) -> None:
    made, tokens = tokenizer
    ids = made.encode("ab€").ids[:-1]
    assert tokens.lengths(ids, "ab\ufffd", "a test") == [1, 1, 0, 1]


def test_the_tokenizer_of_another_model_is_refused(tokenizer: tuple[Tokenizer, Tokens]) -> None:
    made, tokens = tokenizer
    with pytest.raises(ValueError, match=r"does not decode the tokens of episode 3 of wine"):
        tokens.lengths(made.encode("model").ids, "другая", "episode 3 of wine")


def test_an_answer_without_tokens_is_still_read(tokenizer: tuple[Tokenizer, Tokens]) -> None:
    made, tokens = tokenizer
    sampled = episode(made, [turn("ab", 0.5)])
    nothing = {"token_ids": np.int32([]), "action_mask": np.int8([]), "logprobs": np.float32([])}
    spoken = replace(sampled, turns=(turn("ab", 0.5),), **nothing)
    [shown] = transcript(spoken, [0.5], tokens)["turns"]
    assert shown["text"] == "ab" and shown["lengths"] == shown["logprobs"] == []
    row = index_row(one_episode(0, spoken))
    assert row["tokens"] is None and row["logprob"] is None and row["feedback_score"] == 0.5


def test_a_probability_that_is_no_number_is_no_value(tokenizer: tuple[Tokenizer, Tokens]) -> None:
    made, tokens = tokenizer
    played = episode(made, [turn("ab", 0.5)])
    played.logprobs[3:6] = [-np.inf, np.nan, -0.25]
    assert transcript(played, [0.5], tokens)["turns"][0]["logprobs"] == [None, None, -25]
