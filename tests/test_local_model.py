"""Sampling against a plain forward pass, and the context that it leaves behind."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import SAMPLING, TEXTS, TINY
from transformers import AutoModelForCausalLM

from agent.core.chat import append_action, extend_context
from agent.core.environment import CompetitionEnvironment, grade
from agent.core.episode import EpisodeKey, EpisodeLimits
from agent.core.local_model import LocalModel, LocalModelAgent, _draw
from agent.core.model_folder import check_same_architecture, fetch_model, model_digest, model_folder
from agent.core.play import Rollout, play_episodes
from agent.core.prompts import PromptManager
from agent.core.records import Conversation, Message, Trajectory
from agent.core.timing import Stopwatch
from agent.training.warm_start import train_tokenizer

Load = Callable[..., LocalModel]


@pytest.fixture(scope="module")
def load(tiny_model: Path) -> Load:
    """Loads the tiny model with some settings of one's own."""
    return lambda **changes: LocalModel(tiny_model, replace(SAMPLING, **changes))


@pytest.fixture(scope="module")
def model(load: Load) -> LocalModel:
    return load()


@pytest.fixture(scope="module")
def reference(tiny_model: Path) -> Callable[[Sequence[int]], torch.Tensor]:
    """Logits of every position of one sequence, by transformers alone, without cache or padding."""
    network = AutoModelForCausalLM.from_pretrained(tiny_model).eval()

    def logits(ids: Sequence[int]) -> torch.Tensor:
        with torch.no_grad():
            return network(torch.tensor([list(ids)]), use_cache=False).logits[0].double()

    return logits


def conversation(number: int) -> Conversation:
    """Conversations of different lengths."""
    task = "\n".join(["import pandas as pd", f"turn {number}"] * (1 + number % 5))
    return Conversation([Message("system", "be brief"), Message("user", task)])


def answer(model: LocalModel, talks: Sequence[Conversation], seeds: Sequence[int]) -> list:
    """One round as the episode loop plays it."""
    responses = model.respond(talks, seeds)
    for talk, response in zip(talks, responses, strict=True):
        if response.finish != "context":
            talk.messages.append(Message("assistant", response.text))
            talk.messages.append(Message("user", f"position: 0.{response.last_token}\nnext"))
    return responses


def actions(talk: Conversation) -> list[int]:
    return [t for t, chosen in zip(talk.token_ids, talk.action_mask, strict=True) if chosen]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_recorded_logprobs_are_those_of_a_full_forward_pass(load, reference, temperature):
    talks = [conversation(number) for number in range(7)]
    model = load(temperature=temperature, batch_size=4)
    for turn in range(2):
        answer(model, talks, [10 * turn + number for number in range(7)])
    for talk in talks:
        expected = (reference(talk.token_ids) / temperature).log_softmax(-1)[:-1]
        expected = expected.gather(1, torch.tensor(talk.token_ids[1:])[:, None])[:, 0].numpy()
        chosen = np.array(talk.action_mask[1:], dtype=bool)
        recorded = np.array(talk.logprobs[1:])
        assert chosen.sum() >= 2
        np.testing.assert_allclose(recorded[chosen], expected[chosen], atol=1e-5)
        assert not recorded[~chosen].any()


def test_tokens_do_not_depend_on_the_neighbours(model, load):
    seeds = list(range(9))
    together = [conversation(number) for number in range(9)]
    alone = [conversation(number) for number in range(9)]
    pairs = [conversation(number) for number in range(9)]
    for _ in range(2):
        answer(model, together, seeds)
        for talk, seed in zip(reversed(alone), reversed(seeds), strict=True):
            answer(model, [talk], [seed])
        answer(load(batch_size=2), pairs, seeds)
    for one, other, third in zip(together, alone, pairs, strict=True):
        assert one.token_ids == other.token_ids == third.token_ids
        assert one.action_mask == other.action_mask == third.action_mask
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-5)


def test_the_seed_decides_the_answer(model):
    talks = [conversation(0) for _ in range(6)]
    texts = [response.text for response in answer(model, talks, [1, 1, 1, 2, 3, 4])]
    assert len(set(texts[:3])) == 1 and len(set(texts)) == 4


def test_a_temperature_of_zero_takes_the_likeliest_token(load, reference):
    talks = [conversation(number) for number in (0, 0, 3)]
    greedy = load(temperature=0.0)
    responses = answer(greedy, talks, [1, 2, 3])
    assert responses[0].text == responses[1].text
    for talk, response in zip(talks, responses, strict=True):
        ids = talk.token_ids[: response.first_token]
        for position in range(response.first_token, response.last_token):
            logits = reference(ids)[-1]
            ids.append(int(logits.argmax()))
            assert talk.logprobs[position] == pytest.approx(float(logits.log_softmax(-1).max()))
        assert ids == talk.token_ids[: response.last_token]


def test_draws_follow_the_distribution():
    """Inverse transform: evenly spread uniforms hit each token as often as its probability says."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, generator=generator) * 3
    logits[[0, 7, 39]] = -torch.inf
    count = 20_000
    uniforms = (torch.arange(count).double() + 0.5) / count
    tokens, logprobs = _draw(logits.expand(count, -1), uniforms, 2.0)
    probabilities = (logits.double() / 2).softmax(-1)
    frequencies = torch.bincount(tokens, minlength=40) / count
    assert (frequencies - probabilities).abs().max() <= 1.5 / count
    torch.testing.assert_close(logprobs.double(), probabilities[tokens].log(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("uniform", [0.0, np.nextafter(1.0, 0.0)])
def test_a_draw_at_the_edge_never_hits_an_impossible_token(uniform):
    logits = torch.full((1, 9), -torch.inf)
    logits[0, 3:6] = torch.tensor([0.1, 0.2, 0.3])
    token, logprob = _draw(logits, torch.tensor([uniform], dtype=torch.float64), 1.0)
    assert token.item() == (3 if uniform == 0 else 5) and torch.isfinite(logprob).all()


def test_the_end_of_turn_is_an_action_only_when_it_was_sampled(load):
    model = load(max_new_tokens=64, batch_size=64)
    end = model.tokenizer.eos_token_id
    talks = [conversation(number) for number in range(64)]
    responses = model.respond(talks, range(64))
    for talk, response in zip(talks, responses, strict=True):
        first, last = response.first_token, response.last_token
        assert talk.token_ids[-1] == end and end not in talk.token_ids[first : last - 1]
        assert talk.action_mask[first:last] == [1] * (last - first)
        if response.finish == "stop":
            assert talk.token_ids[last - 1] == end and last == len(talk.token_ids)
        else:  # closed for the context; not something the model did
            assert last - first == 64 and last == len(talk.token_ids) - 1
            assert (talk.action_mask[-1], talk.logprobs[-1]) == (0, 0.0)
    assert {response.finish for response in responses} == {"stop", "length"}


def test_the_context_grows_and_is_what_the_template_renders(model):
    talks = [conversation(number) for number in range(4)]
    before: list[list[int]] = [[] for _ in talks]
    for turn in range(3):
        responses = answer(model, talks, [100 * turn + number for number in range(4)])
        for talk, response, earlier in zip(talks, responses, before, strict=True):
            assert talk.token_ids[: len(earlier)] == earlier
            size = len(talk.token_ids)
            assert size == len(talk.action_mask) == len(talk.logprobs)
            chat = [{"role": m.role, "content": m.content} for m in talk.messages[:-1]]
            rendered = model.tokenizer.apply_chat_template(chat, tokenize=False)
            assert model.tokenizer.decode(talk.token_ids) + "\n" == rendered
            sampled = talk.token_ids[response.first_token : response.last_token]
            assert model.tokenizer.decode(sampled).removesuffix("<|im_end|>") == response.text
        before = [list(talk.token_ids) for talk in talks]
    assert all(sum(talk.action_mask) == len(actions(talk)) for talk in talks)


def test_observations_are_encoded_as_they_would_be_in_a_whole_conversation(model):
    """Where no answer was cut off, piece by piece gives the tokens of the whole text."""
    messages = [Message("system", "s"), Message("user", "import pandas as pd\n")]
    growing = Conversation(list(messages))
    for text in ("X, y = train.drop(columns=['id']), 12.5\n", "model.fit(X, y)"):
        extend_context(model.tokenizer, growing)
        ids = [*model.tokenizer.encode(text), model.tokenizer.eos_token_id]
        append_action(growing, ids, [-1.0] * len(ids))
        growing.messages += [Message("assistant", text), Message("user", "position: 0.50\n")]
        extend_context(model.tokenizer, growing)
    chat = [{"role": m.role, "content": m.content} for m in growing.messages]
    text = model.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert growing.token_ids == model.tokenizer.encode(text)


def test_a_template_that_rewrites_earlier_messages_is_refused(load):
    tokenizer = load().tokenizer
    tokenizer.chat_template = "{{ messages | length }} messages<|im_end|>"
    talk = conversation(0)
    extend_context(tokenizer, talk)
    talk.messages += [Message("assistant", "x"), Message("user", "y")]
    with pytest.raises(ValueError, match="chat template: rewrites earlier messages"):
        extend_context(tokenizer, talk)


def test_without_room_nothing_is_sampled(load):
    talk = conversation(0)
    extend_context(load().tokenizer, talk)
    size = len(talk.token_ids)
    assert load(context_tokens=size + 16).respond([talk], [0])[0].finish != "context"
    talk = conversation(0)
    response = load(context_tokens=size + 15).respond([talk, conversation(0)], [0, 1])[0]
    assert (response.text, response.finish) == ("", "context") and sum(talk.action_mask) == 0


def test_some_conversations_may_have_room_while_others_have_not(load):
    small, large = conversation(0), conversation(4)
    tokenizer = load().tokenizer
    extend_context(tokenizer, small)
    model = load(context_tokens=len(small.token_ids) + 20)
    finishes = [response.finish for response in model.respond([large, small, large], [0, 1, 2])]
    assert finishes[0] == finishes[2] == "context" != finishes[1]


@pytest.mark.parametrize(
    "text", [*TEXTS[:2], "it 's , fine . n't\n\n  a\tb 3.14 007 é 漢字 🙂\r\n", " "]
)
def test_a_reloaded_tokenizer_encodes_as_the_saved_one(model, text):
    saved = train_tokenizer(TEXTS, TINY.vocabulary)
    assert model.tokenizer.encode(text) == saved.encode(text)
    assert model.tokenizer.decode(model.tokenizer.encode(text)) == text


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_the_tokenizer(model, text):
    assert model.tokenizer.decode(model.tokenizer.encode(text)) == text


def test_whole_lines_of_code_become_single_tokens(model):
    assert len(model.tokenizer.encode("import pandas as pd\n")) == 1
    assert len(model.tokenizer.encode("import pandas as pd\nuser\n")) == 2


def test_a_policy_is_named_after_its_weights(model, tiny_model, tmp_path):
    assert model.name == model_digest(tiny_model) and len(model.name) == 16
    fetch_model(str(tiny_model), None, tmp_path / "copy")
    assert model_digest(tmp_path / "copy") == model.name
    weights = tmp_path / "copy/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert model_digest(tmp_path / "copy") != model.name


def test_a_checkpoint_is_opened_through_its_model_folder(tiny_model, tmp_path):
    fetch_model(str(tiny_model), None, tmp_path / "checkpoint/model")
    assert model_folder(tmp_path / "checkpoint") == tmp_path / "checkpoint/model"


@pytest.mark.parametrize("missing", ["folder", "config.json", "model.safetensors"])
def test_what_is_no_model_is_named_in_one_line(tiny_model, tmp_path, missing):
    folder = tmp_path / "model-of-mine"
    if missing != "folder":
        fetch_model(str(tiny_model), None, folder)
        (folder / missing).unlink()
    with pytest.raises(FileNotFoundError, match="model-of-mine is not a Hugging Face") as error:
        LocalModel(folder, SAMPLING)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("source", ["./nowhere", "/nowhere", "Qwen/Qwen2.5-Coder-7B-Instruct"])
def test_a_model_that_cannot_be_fetched_is_named_before_anything_is_tried(tmp_path, source):
    with pytest.raises(FileNotFoundError, match=rf"{source} is no local folder; .*revision"):
        fetch_model(source, None, tmp_path)


def test_models_of_another_shape_are_told_apart(tiny_model, tmp_path):
    check_same_architecture(tiny_model, tiny_model)
    fetch_model(str(tiny_model), None, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))
    with pytest.raises(ValueError, match="hidden_size is 64, but 32"):
        check_same_architecture(tmp_path, tiny_model)


def test_an_agent_plays_like_the_policy_and_forgets_on_reset(model):
    agent = LocalModelAgent(model, seed=5)
    replies = []
    for _ in range(2):
        agent.reset()
        messages = list(conversation(1).messages)
        for _ in range(2):
            messages.append(Message("assistant", agent.generate_response(messages)))
            messages.append(Message("user", "next"))
        replies.append([message.content for message in messages])
    assert replies[0] == replies[1] and replies[0][2] != replies[0][4]


def play(model: LocalModel, wine, runner, turns: int, episodes: int = 3) -> list[Trajectory]:
    rollout = Rollout(
        model,
        PromptManager("compact"),
        EpisodeLimits(turns, 100, 600.0),
        1,
        "limits",
        Stopwatch("test", "model"),
    )
    worlds = [CompetitionEnvironment(wine, runner, grade, 20) for _ in range(episodes)]
    return play_episodes(rollout, worlds, [EpisodeKey(0, 1, 0, n) for n in range(episodes)])


def test_an_episode_records_exactly_what_was_sampled(load, wine, runner):
    model = load(context_tokens=2000)
    for trajectory in play(model, wine, runner, turns=3):
        chosen = np.zeros(len(trajectory.token_ids), dtype=bool)
        for turn in trajectory.turns:
            assert turn.action == "invalid"  # a random model says nothing sensible
            sampled = trajectory.token_ids[turn.first_token : turn.last_token]
            assert model.tokenizer.decode(sampled).removesuffix("<|im_end|>") == turn.text
            chosen[turn.first_token : turn.last_token] = True
        assert np.array_equal(trajectory.action_mask == 1, chosen)
        assert (trajectory.logprobs[chosen] < 0).all() and not trajectory.logprobs[~chosen].any()
        assert (trajectory.policy, trajectory.temperature) == (model.name, 1.0)
        assert trajectory.stop_reason == "max_turns" and len(trajectory.turns) == 3
    first, second = (play(model, wine, runner, turns=1)[number] for number in (0, 1))
    assert first.turns[0].text != second.turns[0].text


def test_an_episode_ends_when_its_context_is_full(load, wine, runner):
    opening = len(play(load(context_tokens=2000), wine, runner, 1, 1)[0].token_ids)
    trajectory = play(load(context_tokens=opening + 40), wine, runner, turns=9, episodes=1)[0]
    assert trajectory.stop_reason == "context" and 1 <= len(trajectory.turns) < 9


def test_a_prompt_that_does_not_fit_is_an_error(load, wine, runner):
    with pytest.raises(RuntimeError, match="the prompt must fit into context_tokens"):
        play(load(context_tokens=64), wine, runner, turns=2)
