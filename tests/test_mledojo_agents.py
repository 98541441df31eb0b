"""MLE-Dojo's own agents play by our rules, each with a model that says what a script says."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from api_provider import SAMPLE, Provider, answer, served_provider
from checkout import ROOT, run
from test_bad_input import settings

from agent.core.actions import Action, format_action, parse_action
from agent.core.environment import CompetitionEnvironment, grade
from agent.core.episode import EpisodeKey, EpisodeLimits
from agent.core.journal import Journal
from agent.core.play import Rollout, play_episodes
from agent.core.prompts import ANSWERS, PromptManager
from agent.core.records import Conversation, Message, Trajectory
from agent.core.timing import Stopwatch
from agent.core.trajectories import read_trajectories
from agent.wrappers.api_policy import ApiModel, ApiPolicy
from agent.wrappers.mledojo_agents import PROMPTS, UpstreamAgents, _played, _readable, _text

CHECKOUT = Path(os.environ.get("MLE_DOJO_CHECKOUT", ROOT / "MLE-Dojo/checkout")).resolve()
needs_checkout = pytest.mark.skipif(
    not CHECKOUT.is_dir(), reason="no MLE-Dojo checkout; MLE_DOJO_CHECKOUT may name one"
)
WINE = "wine-macro-f1-unit-errors"
# A model that scores well above the sample submission; the first line is no action's.
FOREST = """import pandas as pd
from sklearn.ensemble import RandomForestClassifier
train, test = pd.read_csv('train.csv'), pd.read_csv('test.csv')
sample = pd.read_csv('sample_submission.csv')
key, target = sample.columns
model = RandomForestClassifier(random_state=0)
model.fit(train.drop(columns=[key, target]).fillna(0), train[target])
sample[target] = model.predict(test.drop(columns=key).fillna(0))
sample.to_csv('submission.csv', index=False)
print('fitted\\n')"""
DRAFT = "A forest needs no tuning.\n```python\n{}\n```"


def mle_json(action: str, **parameters: str) -> str:
    return json.dumps({"action": action, "params": parameters})


@pytest.fixture
def provider() -> Iterator[Provider]:
    with served_provider() as served:
        yield served


@pytest.fixture
def open_policy(provider, wine, tmp_path) -> Callable[..., UpstreamAgents]:
    def opened(agent: Any, checkout: Path = CHECKOUT, **changes: Any) -> UpstreamAgents:
        facts: dict[str, Any] = {
            **{"name": "yardstick", "url": provider.url, "model": "m", "key_variable": None},
            **{"token_budget": 10**6, "options": {}, "agent": agent},
        }
        model = ApiPolicy(ApiModel(**facts | changes), 0.5, 64, tmp_path / "usage.jsonl")
        return UpstreamAgents(agent, model, checkout, {wine.name: wine.public}, 60.0, 600.0)

    return opened


@pytest.fixture
def play(provider, open_policy, wine, runner, tmp_path) -> Callable[..., Trajectory]:
    """One episode whose model says `said`, one thing after the other and the last for ever."""

    def played(agent: Any, said: list[str], turns: int, **changes: Any) -> Trajectory:
        provider.replies = [(200, {}, answer(text)) for text in said]
        policy = open_policy(agent, **changes)
        with policy, Journal(tmp_path / "journal", "one") as journal:
            prompts, watch = PromptManager(PROMPTS, "tool_call"), Stopwatch("test", "agents")
            limits = EpisodeLimits(turns, 4000, 600.0)
            rollout = Rollout(policy, prompts, limits, 1, runner.confinement, watch, journal)
            world = CompetitionEnvironment(wine, runner, grade, 20)
            return play_episodes(rollout, [world], [EpisodeKey(0, 0, 0, 0)])[0]

    return played


@pytest.fixture
def begun(wine) -> Conversation:
    """An episode that has just begun."""
    prompts = PromptManager(PROMPTS, "tool_call")
    values = {"competition": wine.name, "description": "about", "turns_left": 2}
    return Conversation([Message("system", ""), Message("user", prompts.render("task", values))])


def asked_of(provider: Provider) -> list[str]:
    return ["\n".join(m["content"] for m in one["messages"]) for one in provider.asked]


@needs_checkout
def test_the_mle_agent_asks_repairs_and_scores(provider, play, wine):
    said = [
        mle_json("request_info", info_type="overview"),
        "```json\n" + mle_json("execute_code", code=FOREST) + "\n```",
        "I would rather talk <tool_call> than act",
        mle_json("validate_code", code="1 / 0"),
        mle_json("execute_code", code=SAMPLE),
    ]
    trajectory = play("mle_agent", said, 4)
    assert [(turn.action, turn.outcome) for turn in trajectory.turns] == [
        ("request_info", "ok"),
        ("execute_code", "ok"),
        ("validate_code", "crashed"),
        ("execute_code", "ok"),
    ]
    scores = [turn.position_score for turn in trajectory.turns]
    assert scores[1] > 0.3 and scores[1] > scores[3] and scores[0] is scores[2] is None
    asked = asked_of(provider)
    assert len(asked) == 5  # one of them a repair, which is no turn
    assert "4 actions" in asked[0] and re.search(r"[45]\d\d seconds", asked[0])
    assert wine.description in asked[1] and "fitted" in asked[2] and str(scores[1]) in asked[2]
    assert "I would rather talk <tool_call> than act" in asked[3] and "4 actions" not in asked[3]
    assert "ZeroDivisionError" in asked[4] and "I would rather" in asked[4]


@needs_checkout
def test_aide_drafts_debugs_or_improves_and_scores(provider, play, wine):
    said = [
        "no code at all",
        DRAFT.format("1 / 0"),
        DRAFT.format(SAMPLE),
        DRAFT.format(FOREST),
        DRAFT.format(FOREST.replace("random_state=0", "random_state=1")),
    ]
    trajectory = play("aide", said, 4)
    outcomes = [turn.outcome for turn in trajectory.turns]
    assert outcomes == ["crashed", "ok", "ok", "ok"]
    scores = [turn.position_score for turn in trajectory.turns]
    assert scores[1] < scores[2] and scores[2] > 0.3
    asked = asked_of(provider)
    assert len(asked) == 5 and asked[0] == asked[1]  # a text without code is asked for again
    assert wine.description in asked[0] and "train.csv" in asked[0] and "a minute" in asked[0]
    assert not any("./input" in prompt or str(wine.public) in prompt for prompt in asked)
    assert (
        str(trajectory.turns[1].raw_score) in asked[3] and "A forest needs no tuning." in asked[3]
    )
    # Three drafts were made: now it improves the best one, or mends the one that crashed.
    assert ("random_state=0" in asked[4]) != ("1 / 0" in asked[4])


@needs_checkout
@pytest.mark.parametrize("agent", ["mle_agent", "aide"])
def test_its_programs_are_confined_as_any_policys(provider, play, runner, agent):
    host, port = re.findall(r"//(.*):(\d+)", provider.url)[0]
    program = f"import socket\nsocket.create_connection(('{host}', {port}))"
    said = mle_json("execute_code", code=program) if agent == "mle_agent" else DRAFT.format(program)
    trajectory = play(agent, [said], 1)
    assert trajectory.sandbox == runner.confinement
    (turn,) = trajectory.turns
    assert turn.outcome == "crashed" and turn.error in (
        "ConnectionRefusedError",
        "OSError",
        "PermissionError",
    )


@needs_checkout
@pytest.mark.parametrize(
    ("agent", "said", "requests"),
    [
        ("mle_agent", "word salad", 4),  # upstream asks three times for a repair
        ("mle_agent", "", 4),
        ("mle_agent", mle_json("get_history"), 4),
        ("mle_agent", "[" * 5000, 2),  # too deep for its parser, which then gives up
        ("aide", "word salad", 3),
        ("aide", "```python\nx = '\x00'\n```", 3),
        ("aide", "plan\n```python\n" + "(" * 3000 + "\n```", 3),
    ],
)
def test_answers_without_an_action_cost_a_turn(provider, play, agent, said, requests):
    trajectory = play(agent, [said], 2)
    assert [turn.outcome for turn in trajectory.turns] == ["unparsable", "unparsable"]
    assert len(provider.asked) == 2 * requests


@needs_checkout
def test_an_answer_that_upstream_cannot_read_in_time_costs_a_turn(play):
    trajectory = play("aide", ["plan\n```python" + 20_000 * "\n"], 1)
    assert trajectory.turns[0].outcome == "unparsable"
    assert "TimeoutError" in trajectory.turns[0].text


@needs_checkout
def test_half_a_character_in_a_program_is_replaced(play):
    trajectory = play("mle_agent", [mle_json("validate_code", code="print('\ud800 caf\u00e9')")], 1)
    assert trajectory.turns[0].outcome == "ok"
    assert "? café" in json.loads(trajectory.turns[0].observation)["feedback"]


@needs_checkout
@pytest.mark.parametrize("agent", ["mle_agent", "aide"])
def test_a_stopped_episode_goes_on_and_nothing_is_asked_twice(provider, play, agent):
    """The agent is rebuilt from what was written: its next prompt is what it would have been."""
    whole = [mle_json("execute_code", code=SAMPLE), mle_json("execute_code", code=FOREST)]
    if agent == "aide":
        whole = [DRAFT.format(SAMPLE), DRAFT.format(FOREST)]
    with pytest.raises(RuntimeError, match="token_budget 10 is used up"):
        play(agent, whole, 3, token_budget=10)
    assert len(provider.asked) == 1
    trajectory = play(agent, whole[1:], 3)
    assert len(provider.asked) == 3 and len(trajectory.turns) == 3
    scores = [turn.raw_score for turn in trajectory.turns]
    asked = asked_of(provider)
    assert str(scores[0]) not in asked[0] and str(scores[0]) in asked[1]
    assert str(scores[1]) in asked[2] and str(scores[0]) in asked[2]


@needs_checkout
@pytest.mark.parametrize("agent", ["mle_agent", "aide"])
def test_a_prompt_too_long_for_the_model_ends_the_episode(provider, open_policy, begun, agent):
    provider.replies = [(400, {}, {"error": {"message": "maximum context length is 8"}})]
    with open_policy(agent) as policy:
        assert policy.respond([begun], [0])[0].finish == "context"


@needs_checkout
def test_the_mle_agent_ends_where_its_own_limit_is(provider, open_policy, begun):
    provider.replies = [(200, {}, answer("word " * 60_000)), (200, {}, answer("word"))]
    with open_policy("mle_agent") as policy:
        text = policy.respond([begun], [0])[0].text
        observed = PromptManager(PROMPTS).render("unparsable", {"turns_left": 1, "message": ""})
        begun.messages += [Message("assistant", text), Message("user", observed)]
        assert policy.respond([begun], [0])[0].finish == "context"


@needs_checkout
@pytest.mark.parametrize("agent", ["mle_agent", "aide"])
def test_a_refused_request_stops_the_job(provider, open_policy, begun, agent):
    provider.replies = [(401, {}, {"error": "invalid key"})]
    with (
        open_policy(agent) as policy,
        pytest.raises(RuntimeError, match=r"api_models: yardstick: .*invalid key"),
    ):
        policy.respond([begun], [0])


def test_a_checkout_without_agents_is_told(open_policy, tmp_path):
    with pytest.raises(ValueError, match=r"mle_dojo.checkout: .* holds no MLE-Dojo: correct it"):
        open_policy("aide", checkout=tmp_path)
    (tmp_path / "mledojo/agent").mkdir(parents=True)
    with (
        pytest.raises(
            RuntimeError, match=r"aide ended \(status 1\): ModuleNotFoundError: .*extra mle"
        ),
        open_policy("aide", checkout=tmp_path),
    ):
        pass


def test_seconds_left_are_those_of_the_episode(open_policy, tmp_path):
    (tmp_path / "mledojo/agent").mkdir(parents=True)
    policy = open_policy("aide", checkout=tmp_path)  # 600 s
    assert policy._seconds_left("wine", 1, []) in (599, 600)
    first = {"seed": 1, "seconds_left": 600}
    policy._ends["wine", 1] -= 100
    assert policy._seconds_left("wine", 5, [first]) in (499, 500)
    assert policy._seconds_left("wine", 2, []) in (599, 600)  # that waited behind the other
    anew = open_policy("aide", checkout=tmp_path)  # after a kill
    told = [first, {"seed": 5, "seconds_left": 500}]
    assert anew._seconds_left("wine", 9, told) in (499, 500)


@pytest.mark.parametrize("said", ["\n", "\\n \\\n", "</tool_call><tool_call>{}", "\r\ud800\u2028é"])
def test_what_was_said_and_done_is_read_back(begun, said):
    turn = {"seed": 2**55, "seconds_left": 5, "answers": [said, ""]}
    sound = said.encode("utf-8", "replace").decode()
    action = _readable(format_action("execute_code", f"'{sound}'", "tool_call"))
    text = _text(turn) + action
    observed = {"status": "SUCCESS", "feedback": "<b>'fine'</b>", "turns_left": 1}
    begun.messages += [Message("assistant", text), Message("tool", json.dumps(observed))]
    assert _played(begun)[1] == [{**turn, "observation": observed}]
    assert parse_action(text, "tool_call") == Action("execute_code", f"'{sound}'\n")


def test_observations_are_json_whatever_they_hold():
    prompts = PromptManager(PROMPTS, "tool_call")
    nasty = "'\"<&\\n\n{{ 1 }}é"
    texts = dict.fromkeys(("competition", "description", "message", "error", "output"), nasty)
    numbers = {"raw_score": 0.1 + 0.2, "position_score": 0.5, "best_position": 0.5, "turns_left": 3}
    values = texts | numbers | {"metric": "f1", "higher_is_better": True}
    for key in ("task", *ANSWERS):
        told = json.loads(prompts.render(key, values))
        assert told["turns_left"] == 3
        if key not in ("task", "unparsable"):
            assert nasty in told["feedback"] and told["status"] in ("SUCCESS", "FAILED")
        assert told.get("raw_score") == (0.1 + 0.2 if key == "scored" else None)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "mle_dojo: missing, but aide is MLE-Dojo's"),
        (
            {"environment": {"engine": "upstream", "scoring": "upstream"}, "mle_dojo": {"a": 1}},
            "environment.engine: only native confines what aide runs",
        ),
    ],
)
def test_what_its_job_lacks_is_one_line(competition_folder, tmp_path, changes, told):
    model = {"name": "yardstick", "url": "http://127.0.0.1:9", "model": "m", "key_variable": None}
    model |= {"token_budget": 1, "options": {}, "agent": "aide"}
    config = {**settings(), "mle_dojo": None, **changes, "api_model": model}
    options = ["--config", json.dumps(config), "--output-dir", tmp_path, "--temperature", 1]
    options += ["--max-new-tokens", 16, "--competitions-dir", competition_folder]
    options += ["--competitions", WINE]
    done = run(ROOT, "python", "scripts/evaluate_api_model.py", *map(str, options))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {told}")


@needs_checkout
@pytest.mark.parametrize("agent", ["mle_agent", "aide"])
def test_its_scores_are_rows_like_those_of_any_policy(
    provider,
    competition_folder,
    tmp_path,
    agent,
):
    said = mle_json("execute_code", code=SAMPLE) if agent == "mle_agent" else DRAFT.format(SAMPLE)
    provider.replies = [(200, {}, answer(said))]
    config = settings(episode={"output_characters": 20})
    model = {"name": "yardstick", "url": provider.url, "model": "m", "key_variable": None}
    config["api_model"] = model | {"token_budget": 10**6, "options": {}, "agent": agent}
    config["mle_dojo"] = {"checkout": str(CHECKOUT)}
    played = [WINE, "engel-mae-outliers"]
    options = ["--config", json.dumps(config), "--output-dir", tmp_path, "--num-episodes", 2]
    options += ["--temperature", 0.5, "--max-new-tokens", 16]
    options += ["--competitions-dir", competition_folder, "--competitions", *played]
    done = run(ROOT, "python", "scripts/evaluate_api_model.py", *map(str, options))
    assert done.returncode == 0, done.stderr
    where = ["--competitions-dir", str(competition_folder), "--output-dir", str(tmp_path)]
    episodes = ["--policy", "yardstick", "--episodes", str(tmp_path / "episodes.parquet")]
    done = run(ROOT, "python", "scripts/grade_evaluation.py", *episodes, *where)
    assert done.returncode == 0, done.stderr
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert set(scores["policy"]) == {"yardstick"} and set(scores["competition"]) == set(played)
    assert len(scores) == 4 and (scores["valid_submissions"] == 1).all()
    assert {t.policy for t in read_trajectories(tmp_path / "episodes.parquet")} == {"yardstick"}
