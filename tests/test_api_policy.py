"""Models behind an API: asked over real HTTP, patiently, within their budget, and paid for once."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from api_provider import SAMPLE, Provider, answer, served_provider
from checkout import ROOT, run
from conftest import PLAYED
from test_bad_input import settings

from agent.core.actions import format_action
from agent.core.environment import CompetitionEnvironment, grade
from agent.core.episode import EpisodeKey, EpisodeLimits
from agent.core.journal import Journal
from agent.core.play import Rollout, play_episodes
from agent.core.prompts import PromptManager
from agent.core.records import Conversation, Message
from agent.core.timing import Stopwatch
from agent.core.trajectories import read_trajectories
from agent.wrappers import api_policy
from agent.wrappers.api_policy import ApiModel, ApiPolicy, total_usage

TALK = [Message("system", "be brief"), Message("user", "a task")]


@pytest.fixture
def provider() -> Iterator[Provider]:
    with served_provider() as served:
        yield served


@pytest.fixture
def make(provider: Provider, tmp_path: Path, monkeypatch) -> Callable[..., ApiPolicy]:
    monkeypatch.setattr(api_policy, "_FIRST_WAIT", 0.001)

    def made(**changes: Any) -> ApiPolicy:
        facts: dict[str, Any] = {
            **{"name": "large", "url": provider.url, "model": "large-1", "key_variable": None},
            **{"token_budget": 1000, "options": {}, "agent": "ours"},
        }
        return ApiPolicy(ApiModel(**facts | changes), 0.5, 64, tmp_path / "usage.jsonl")

    return made


def said(policy: ApiPolicy) -> Any:
    return policy.respond([Conversation(list(TALK))], [2**40 + 5])[0]


def test_messages_are_sent_and_the_answer_is_text(provider, make, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    response = said(make(key_variable="MY_KEY", url=provider.url + "/"))
    assert (response.text, response.finish, response.last_token) == ("fine", "stop", 0)
    (asked,) = provider.asked
    assert asked == {
        "path": "/v1/chat/completions",
        "model": "large-1",
        "messages": [{"role": m.role, "content": m.content} for m in TALK],
        "temperature": 0.5,
        "max_tokens": 64,
        "seed": 5,
    }
    assert provider.keys == ["Bearer secret"]


def test_options_add_fields_and_leave_out_ours(provider, make):
    said(make(options={"max_tokens": None, "seed": None, "max_completion_tokens": 9}))
    (asked,) = provider.asked
    assert asked["max_completion_tokens"] == 9 and not {"max_tokens", "seed"} & set(asked)
    assert provider.keys == [None]


@pytest.mark.parametrize(
    ("reply", "text", "finish"),
    [(answer("cut", "length"), "cut", "length"), (answer(None), "", "stop")],
)
def test_cut_and_empty_answers_are_the_models_doing(provider, make, reply, text, finish):
    provider.replies = [(200, {}, reply)]
    response = said(make())
    assert (response.text, response.finish) == (text, finish)


def test_a_busy_or_failing_server_is_asked_again(provider, make):
    provider.replies = [
        (429, {"Retry-After": "0"}, {"error": "slow down"}),
        (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}),
        (500, {}, {}),
        (200, {}, answer("at last")),
    ]
    assert said(make()).text == "at last"
    assert len(provider.asked) == 4 and len({json.dumps(one) for one in provider.asked}) == 1


def test_a_server_that_never_answers_is_told_with_its_last_words(provider, make):
    provider.replies = [(502, {}, {"error": "bad gateway"})]
    with pytest.raises(RuntimeError, match=r"large: http.*: 6 requests failed.*HTTP 502.*gateway"):
        said(make())
    assert len(provider.asked) == api_policy.ATTEMPTS


def test_a_server_that_is_not_there_is_told(make):
    with pytest.raises(
        RuntimeError, match=r"large: .*6 requests failed, the last one with .*refused"
    ):
        said(make(url="http://127.0.0.1:9/v1"))


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_request_that_is_refused_is_not_sent_again(provider, make, status):
    provider.replies = [(status, {}, {"error": "no such thing"})]
    with pytest.raises(RuntimeError, match=rf"api_models: large: .*HTTP {status}: .*no such thing"):
        said(make())
    assert len(provider.asked) == 1


@pytest.mark.parametrize("words", ["context_length_exceeded", "maximum context length is 8"])
def test_a_conversation_that_is_too_long_ends_its_episode(provider, make, words):
    provider.replies = [(400, {}, {"error": {"message": words}})]
    assert said(make()).finish == "context"


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ({"choices": []} | {"usage": answer()["usage"]}, "no answer in the reply"),
        ({"choices": answer()["choices"]}, "lacks usage"),
    ],
)
def test_a_reply_that_lacks_something_is_told(provider, make, reply, told):
    provider.replies = [(200, {}, reply)]
    with pytest.raises(RuntimeError, match=told):
        said(make())


def test_a_key_that_is_not_there_is_told_before_anything_is_asked(provider, make, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(RuntimeError, match="variable MY_KEY is not set: export the key in it"):
        make(key_variable="MY_KEY")
    assert provider.asked == []


def test_a_used_up_budget_stops_the_job_which_goes_on_when_it_is_raised(
    provider, make, wine, runner, tmp_path
):
    provider.replies = [(200, {}, answer(format_action("execute_code", SAMPLE)))]

    def play(budget: int) -> Any:
        policy = make(token_budget=budget)
        with Journal(tmp_path / "journal", "one") as journal:
            watch, limits = Stopwatch("test", "api"), EpisodeLimits(6, 80, 600.0)
            prompts = PromptManager("zero_shot")
            rollout = Rollout(policy, prompts, limits, 1, "limits", watch, journal)
            world = CompetitionEnvironment(wine, runner, grade, 20)
            return play_episodes(rollout, [world], [EpisodeKey(0, 0, 0, 0)])[0]

    with pytest.raises(
        RuntimeError, match=r"large: .*token_budget 40 is used up.*raise it to go on"
    ):
        play(40)
    assert len(provider.asked) == 4
    trajectory = play(1000)
    assert len(provider.asked) == 6 and len(trajectory.turns) == 6
    assert len(trajectory.token_ids) == 0 and trajectory.policy == "large"
    assert all(turn.position_score is not None for turn in trajectory.turns)
    usage = total_usage(tmp_path / "usage.jsonl")
    assert usage == {"prompt_tokens": 42, "completion_tokens": 18}


def test_a_line_of_usage_cut_short_by_a_kill_is_dropped(make, tmp_path):
    policy = make()
    said(policy)
    with (tmp_path / "usage.jsonl").open("a") as file:
        file.write('{"prompt_tok')
    assert total_usage(tmp_path / "usage.jsonl") == {"prompt_tokens": 7, "completion_tokens": 3}


def evaluate(url: str, folder: Path, output: Path, **changes: Any) -> subprocess.CompletedProcess:
    config = settings()
    model = {"name": "large", "url": url, "model": "policy", "key_variable": "MY_KEY"}
    config["api_model"] = model | {"token_budget": 10**6, "options": {}, "agent": "ours"} | changes
    output.mkdir(parents=True, exist_ok=True)
    (output / "config.json").write_text(json.dumps(config))
    options = ["--config", output / "config.json", "--output-dir", output, "--num-episodes", "2"]
    options += ["--temperature", "0.5", "--max-new-tokens", "16"]
    options += ["--competitions-dir", folder, "--competitions", *PLAYED]
    command = [sys.executable, "scripts/evaluate_api_model.py", *map(str, options)]
    environment = os.environ | {"MY_KEY": "secret"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)


def test_its_scores_are_rows_like_those_of_any_policy(provider, competition_folder, tmp_path):
    provider.replies = [(200, {}, answer(format_action("execute_code", SAMPLE)))]
    done = evaluate(provider.url, competition_folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    asked, out = len(provider.asked), tmp_path / "out"
    left = {path.name for path in out.iterdir()} - {"config.json"}
    assert left == {"episodes.parquet", "usage.json"}
    where = ["--competitions-dir", str(competition_folder), "--output-dir", str(out)]
    grading = ["python", "scripts/grade_evaluation.py", "--policy", "large", *where]
    done = run(ROOT, *grading, "--episodes", str(out / "episodes.parquet"))
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "grading.json").read_text())["told_otherwise"] == 0
    scores = pd.read_csv(tmp_path / "out/scores.csv")
    assert set(scores["policy"]) == {"large"} and len(scores) == 2 * len(PLAYED)
    assert (scores["valid_submissions"] > 0).all()
    turns = int(scores["turns"].sum())
    usage = json.loads((tmp_path / "out/usage.json").read_text())
    assert usage == {"prompt_tokens": 7 * turns, "completion_tokens": 3 * turns}
    assert len(provider.asked) == asked == turns
    played = read_trajectories(tmp_path / "out/episodes.parquet")
    assert {trajectory.policy for trajectory in played} == {"large"}


def test_what_went_wrong_is_one_line(provider, competition_folder, tmp_path):
    provider.replies = [(401, {}, {"error": "invalid key"})]
    done = evaluate(provider.url, competition_folder, tmp_path / "out")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()[-1:]
    assert line.startswith("error: evaluation.api_models: large: ") and "invalid key" in line
