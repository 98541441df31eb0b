"""Which competitions an episode is played on, and the sandbox that plays them."""

from collections import Counter
from dataclasses import replace

import pytest
from conftest import CONFIG, PLAYED, ROOT
from hypothesis import given
from hypothesis import strategies as st

from agent.core.actions import format_action
from agent.core.settings import section
from agent.core.timing import Stopwatch
from agent.rollout import (
    EpisodeSettings,
    deal_competitions,
    episode_keys,
    find_competitions,
    open_competitions,
    open_sandbox,
    play,
)
from agent.sandbox.opening import SandboxSettings
from agent.sandbox.remembering import RememberingRunner
from agent.sandbox.runner import WarmRunner
from agent.wrappers.scripted_policy import ScriptedPolicy, replay

SANDBOX = replace(section(CONFIG, "sandbox", SandboxSettings), modules=())
SAMPLE = "open('submission.csv', 'w').write(open('sample_submission.csv').read())"


@given(st.integers(1, 9), st.lists(st.integers(0, 40), max_size=6))
def test_shards_deal_as_one_long_shard_would(count, sizes):
    known = list(range(count))
    dealt = []
    for size in sizes:
        dealt += deal_competitions(known, size, len(dealt))
    assert dealt == deal_competitions(known, sum(sizes), 0)
    times = Counter({number: 0 for number in known} | Counter(dealt))
    assert max(times.values()) - min(times.values()) <= 1


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 30))
def test_every_episode_has_a_key_of_its_own(seed, iteration, shard, episodes):
    keys = episode_keys(seed, iteration, shard, episodes)
    assert len(set(keys)) == episodes
    assert all((k.seed, k.iteration, k.shard) == (seed, iteration, shard) for k in keys)


def test_competitions_are_found_by_their_group(competition_folder):
    assert find_competitions(competition_folder, "train") == sorted(PLAYED)
    with pytest.raises(FileNotFoundError, match="no prepared held_out competition; run the"):
        find_competitions(competition_folder, "held_out")


def test_competitions_are_opened_in_the_order_asked_and_for_feedback(competition_folder):
    opened = open_competitions(competition_folder, PLAYED[::-1], "feedback")
    assert [competition.name for competition in opened] == list(PLAYED[::-1])
    assert {competition.half for competition in opened} == {"feedback"}


@pytest.mark.parametrize("remember", [True, False])
def test_programs_are_remembered_only_when_asked(wine, remember):
    script = replay([format_action("execute_code", SAMPLE)] * 2)
    stopwatch = Stopwatch("test", "rollout")
    episode = replace(section(CONFIG, "episode", EpisodeSettings), max_turns=2)
    with open_sandbox(replace(SANDBOX, remember_programs=remember), "native", []) as sandbox:
        assert isinstance(sandbox.runner, RememberingRunner if remember else WarmRunner)
        played = play(
            ScriptedPolicy("sample", script),
            [wine] * 3,
            episode_keys(0, 0, 0, 3),
            sandbox,
            episode,
            2,
            stopwatch,
        )
    seconds = [turn.execute_seconds for t in played for turn in t.turns]
    assert len(seconds) == 6 and sum(second > 0 for second in seconds) == (1 if remember else 6)
    assert len({turn.position_score for t in played for turn in t.turns}) == 1
    phases = stopwatch.seconds
    assert phases["execute"] > 0 and phases["grade"] > 0 and phases["generate"] >= 0


def test_every_module_of_the_shipped_sandbox_can_be_imported():
    settings = section(CONFIG, "sandbox", SandboxSettings)
    probe = "\n".join(f"import {module}" for module in settings.modules)
    with open_sandbox(settings, "native", []) as sandbox:
        execution = sandbox.runner.run(probe, ROOT / "config/leaderboards")
    assert (execution.outcome, execution.message) == ("ok", "")
