"""Generating through a server: the same tokens, no turn lost when it dies, nothing left behind.

The server is one that speaks vLLM's protocol with transformers behind it; with `VLLM_PYTHON`, an
interpreter that has vLLM, the tests of the client run against a real one as well.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from checkout import ROOT
from served import PROTOCOL, SAMPLING, kill_server, make_interpreter, make_model, process_of
from test_bad_input import settings
from tiny_model import TEXTS

from agent.core.environment import CompetitionEnvironment, grade
from agent.core.episode import EpisodeKey, EpisodeLimits
from agent.core.journal import Journal
from agent.core.local_model import LocalModel
from agent.core.model_folder import model_digest
from agent.core.play import Rollout, play_episodes
from agent.core.prompts import PromptManager
from agent.core.records import Conversation, Message, Trajectory
from agent.core.timing import Stopwatch
from agent.core.trajectories import read_trajectories
from agent.wrappers.api_policy import ApiModel, ApiPolicy, total_usage
from agent.wrappers.vllm_policy import VllmPolicy
from agent.wrappers.vllm_requests import ask
from agent.wrappers.vllm_running import RunningServer
from agent.wrappers.vllm_server import VllmServer, serving
from agent.wrappers.vllm_settings import RunningSettings, VllmSettings

REAL = os.environ.get("VLLM_PYTHON", "")
# One compute thread; chunked prefill with seeds kills the engine of vLLM's build for CPUs.
CPU = (
    *("--enforce-eager", "--dtype", "float32", "--no-enable-chunked-prefill"),
    *("--max-num-batched-tokens", "2048", "--max-num-seqs", "8", "--gpu-memory-utilization", "0.3"),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like Qwen's, it recommends what would falsify log-probs."""
    folder = make_model(tmp_path_factory.mktemp("model"))
    recommended = {"top_p": 0.8, "top_k": 2, "min_p": 0.1, "repetition_penalty": 1.5}
    (folder / "generation_config.json").write_text(json.dumps(recommended))
    return folder


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_interpreter(tmp_path_factory.mktemp("bin"))


@pytest.fixture(scope="module", params=["protocol", "vllm"])
def settings_of_server(request, interpreter: str) -> VllmSettings:
    if request.param == "protocol":
        return replace(PROTOCOL, python=interpreter)
    if not REAL:
        pytest.skip("no real vLLM; VLLM_PYTHON may name an interpreter that has it")
    return VllmSettings(REAL, 1, 1, 600.0, 2, CPU)


@pytest.fixture(scope="module")
def server(settings_of_server, model: Path, tmp_path_factory) -> Iterator[VllmServer]:
    log = tmp_path_factory.mktemp("server") / "vllm.log"
    with VllmServer(model, SAMPLING.context_tokens, settings_of_server, log) as running:
        yield running


def play(policy, wine, runner, journal: Journal | None = None, **facts) -> list[Trajectory]:
    limits = EpisodeLimits(4, 80, 600.0)
    watch = Stopwatch("test", "vllm")
    prompts = PromptManager("compact")
    rollout = Rollout(policy, prompts, limits, 2, "limits", watch, journal, **facts)
    worlds = [CompetitionEnvironment(wine, runner, grade, 20) for _ in range(6)]
    return play_episodes(rollout, worlds, [EpisodeKey(0, 1, 0, n) for n in range(6)])


def test_logprobs_are_those_of_the_sampled_tokens_at_the_sampling_temperature(server, model):
    check_logprobs(VllmPolicy(model, SAMPLING, server.complete), model)


def check_logprobs(policy: VllmPolicy, model: Path) -> None:
    local = LocalModel(model, SAMPLING)
    context = local.tokenizer.encode("".join(TEXTS[:3]))
    ids, logprobs = policy.sample(context, seed=5)
    assert 0 < len(ids) <= SAMPLING.max_new_tokens
    import torch

    whole = torch.tensor([[*context, *ids]])
    with torch.inference_mode():
        logits = local.model(whole).logits[0, len(context) - 1 : -1].float()
    expected = (logits / SAMPLING.temperature).log_softmax(-1)
    own = expected[torch.arange(len(ids)), torch.tensor(ids)].numpy()
    np.testing.assert_allclose(logprobs, own, atol=1e-4)


def test_a_seed_gives_the_same_tokens_whoever_else_asks(server, model):
    policy = VllmPolicy(model, SAMPLING, server.complete)
    context = policy.tokenizer.encode(TEXTS[0])
    alone = [policy.sample(context, seed)[0] for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda seed: policy.sample(context, seed)[0], range(6)))
    assert together == alone and len({tuple(ids) for ids in alone}) > 1


def test_the_context_grows_by_ids_alone(server, model, wine, runner):
    policy = VllmPolicy(model, SAMPLING, server.complete)
    trajectories = play(policy, wine, runner)
    assert [len(t.turns) for t in trajectories] == [4] * 6
    for trajectory in trajectories:
        for turn in trajectory.turns:
            ids = trajectory.token_ids[turn.first_token : turn.last_token]
            assert trajectory.action_mask[turn.first_token : turn.last_token].all()
            text = policy.tokenizer.decode(ids, skip_special_tokens=False)
            assert text.removesuffix(policy.tokenizer.eos_token) == turn.text
        assert trajectory.policy == policy.name and trajectory.temperature == 0.7


def test_a_server_killed_in_the_midst_costs_no_turn(server, model, wine, runner, tmp_path, capfd):
    policy, turns = VllmPolicy(model, SAMPLING, server.complete), []

    def kill(count: int) -> None:
        turns.append(count)
        if len(turns) == 7:
            kill_server(server)

    whole = play(policy, wine, runner)
    with Journal(tmp_path / "journal", "one") as journal:
        played = play(policy, wine, runner, journal, on_turns=kill)
    assert len(turns) == 24 and "started again" in capfd.readouterr().out
    assert [[turn.text for turn in t.turns] for t in played] == [
        [turn.text for turn in t.turns] for t in whole
    ]


@pytest.fixture
def own(model: Path, interpreter: str, tmp_path: Path) -> Callable[..., VllmServer]:
    def make(**changes) -> VllmServer:
        settings = replace(PROTOCOL, python=interpreter, **changes)
        return VllmServer(model, SAMPLING.context_tokens, settings, tmp_path / "log/vllm.log")

    return make


def test_the_same_model_says_the_same_through_a_server(own, model, wine, runner):
    with own() as server:
        served = play(VllmPolicy(model, SAMPLING, server.complete), wine, runner)
    local = play(LocalModel(model, SAMPLING), wine, runner)
    for one, other in zip(served, local, strict=True):
        assert one.token_ids.tolist() == other.token_ids.tolist()
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-5)


def test_nothing_is_left_of_a_server(own):
    with own() as server:
        pid = process_of(server)
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()


def test_a_server_that_dies_too_often_is_told_with_its_log(own, model, tmp_path):
    with own(restarts=1) as server:
        policy = VllmPolicy(model, SAMPLING, server.complete)
        stop = threading.Event()

        def keep_killing() -> None:
            while not stop.is_set():
                with suppress(ProcessLookupError, AssertionError):  # between two of them
                    kill_server(server)
                time.sleep(0.01)

        policy.sample([1, 2], 0)
        killer = threading.Thread(target=keep_killing)
        killer.start()
        with pytest.raises(RuntimeError, match=r"log/vllm\.log"):
            for seed in range(1000):
                policy.sample([1, 2], seed)
        stop.set()
        killer.join()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"options": ("--no-such-option",)}, r"could not start; see .*vllm\.log"),
        ({"start_seconds": 0.2}, r"no answer within vllm\.start_seconds 0"),
    ],
)
def test_a_server_that_does_not_come_up_is_told(own, changes, told):
    with pytest.raises(RuntimeError, match=told), own(**changes):
        pass


def test_a_request_that_is_refused_is_no_reason_to_start_again(own, model, capfd):
    short = replace(SAMPLING, context_tokens=4096)
    with own() as server:
        policy = VllmPolicy(model, short, server.complete)
        with pytest.raises(RuntimeError, match=r"HTTP 400: .*longer than the context"):
            policy.sample([1] * 2048, 0)
        with pytest.raises(RuntimeError, match="HTTP 401"):
            ask(server._url, "/v1/completions", "guess", {"model": "policy", "prompt": [1]})
    assert "started again" not in capfd.readouterr().out


Users = Callable[..., tuple[RunningSettings, Callable[[], object]]]


@pytest.fixture
def users(model: Path, settings_of_server: VllmSettings, monkeypatch) -> Iterator[Users]:
    """Settings of a server that runs already, and what starts it, once more if need be."""
    monkeypatch.setenv("MY_KEY", "secret")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes: list[subprocess.Popen[bytes]] = []

    def stop() -> None:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with its workers
            process.wait()

    def make(
        name: str = model_digest(model),
        mode: str = "processed_logprobs",
        wait: float = 600.0,
        defaults: str = "vllm",
    ):
        arguments = serving(model, name, SAMPLING.context_tokens)
        arguments[arguments.index("processed_logprobs")] = mode
        arguments[arguments.index("vllm")] = defaults
        places = ["--host", "127.0.0.1", "--port", str(port)]
        shares = ["--tensor-parallel-size", "1", "--data-parallel-size", "1"]

        def start():
            stop()
            options = (*places, *shares, *settings_of_server.options)
            command = [settings_of_server.python, "-m", *arguments, *options]
            environment = os.environ | {"VLLM_API_KEY": "secret"}
            processes.append(subprocess.Popen(command, env=environment, start_new_session=True))
            for _ in range(6000):
                with suppress(OSError):
                    return ask(f"http://127.0.0.1:{port}", "/health", "secret")
                time.sleep(0.1)

        return RunningSettings(f"http://127.0.0.1:{port}/", "MY_KEY", wait), start

    yield make
    stop()


def running(model: Path, settings: RunningSettings) -> RunningServer:
    return RunningServer(model, SAMPLING.context_tokens, settings)


def test_a_running_server_is_waited_for_and_may_be_started_again(users, model, wine, runner):
    settings, start = users()
    threading.Timer(1.0, start).start()
    turns = []

    def replace_server(count: int) -> None:
        turns.append(count)
        if len(turns) == 7:
            start()

    with running(model, settings) as server:
        policy = VllmPolicy(model, SAMPLING, server.complete)
        played = play(policy, wine, runner, on_turns=replace_server)
        again = play(policy, wine, runner)
    assert len(turns) == 24
    for one, other in zip(played, again, strict=True):
        assert one.token_ids.tolist() == other.token_ids.tolist()
        assert one.policy == model_digest(model)


def test_a_running_server_must_hold_the_policy(users, model):
    settings, start = users(name="another", wait=0.1)
    start()
    told = rf"does not serve policy {model_digest(model)} but another, .*--served-model-name \w+ "
    with pytest.raises(RuntimeError, match=told), running(model, settings):
        pass


def test_a_running_server_must_give_the_logprobs_of_sampling(users, model):
    settings, start = users(mode="raw_logprobs")
    start()
    with (
        pytest.raises(RuntimeError, match="not those at the sampling temperature: start"),
        running(model, settings),
    ):
        pass


def test_what_a_model_recommends_shapes_nothing(users, model):
    """A server that the user started takes it from the model's folder where a request is silent."""
    settings, start = users(defaults="auto")
    start()
    with running(model, settings) as server:
        check_logprobs(VllmPolicy(model, SAMPLING, server.complete), model)


def test_a_reply_without_ids_is_no_answer(model):
    policy = VllmPolicy(model, SAMPLING, lambda request: {"choices": [{"text": "words"}]})
    with pytest.raises(RuntimeError, match="lacks token ids or log-probs"):
        policy.sample([1], 0)


def test_a_shard_is_played_through_a_server_of_its_own(
    model, interpreter, competition_folder, tmp_path
):
    config = settings(sampling={"context_tokens": 2048, "max_new_tokens": 12})
    config["vllm"] = asdict(replace(PROTOCOL, python=interpreter))
    shards = []
    for name, vllm in (("served", config["vllm"]), ("local", None)):
        (tmp_path / f"{name}.yaml").write_text(json.dumps(config | {"vllm": vllm}))
        options = ["--model-name", model, "--config", tmp_path / f"{name}.yaml"]
        options += ["--competitions-dir", competition_folder, "--num-episodes", "2"]
        options += ["--competitions", "engel-mae-outliers", "--output-dir", tmp_path / name]
        command = [sys.executable, "scripts/generate_trajectories.py", *map(str, options)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        shards.append(read_trajectories(tmp_path / name / "shard0.parquet"))
    assert (tmp_path / "served/shard0.vllm.log").exists()
    assert not (tmp_path / "local/shard0.vllm.log").exists()
    for served, local in zip(*shards, strict=True):
        assert served.token_ids.tolist() == local.token_ids.tolist()


def test_a_served_model_can_be_evaluated_as_text(own, tmp_path, monkeypatch):
    """Any such server is a yardstick through `chat/completions`, a user's vLLM as well."""
    talk = Conversation([Message("system", "be brief"), Message("user", TEXTS[0])])
    with own() as server:
        monkeypatch.setenv("MY_KEY", server._key)
        asked = ApiModel("served", f"{server._url}/v1", "policy", "MY_KEY", 10**6, {}, "ours")
        policy = ApiPolicy(asked, 0.7, 12, tmp_path / "usage.jsonl")
        one, again = policy.respond([talk, talk], [1, 1])
        other = policy.respond([talk], [2])[0]
    assert one == again and one.text and one.text != other.text
    usage = total_usage(tmp_path / "usage.jsonl")
    assert usage["prompt_tokens"] > 30 and 3 < usage["completion_tokens"] <= 36
