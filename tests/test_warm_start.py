"""Supervised fine-tuning: the right tokens, the right loss, the same weights every time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CONFIG, PLAYED
from tiny_model import TEXTS, TINY
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from agent.core.environment import grade
from agent.core.local_model import LocalModel, SamplingSettings
from agent.core.records import Message, Trajectory
from agent.core.settings import section
from agent.core.timing import Stopwatch
from agent.rollout import EpisodeSettings, Sandbox, play_teacher
from agent.training.teacher import TeacherSettings
from agent.training.warm_start import (
    END,
    WarmStartSettings,
    encode_episode,
    fine_tune,
    new_model,
    train_tokenizer,
    warm_start,
)

TEACHER = TeacherSettings(4, 0.0, 0.3, 0.2)
EPISODES = EpisodeSettings("compact", "block", 3, 20, 400, 600.0)


@pytest.fixture(scope="module")
def written(competitions, runner) -> list[Trajectory]:
    """Real episodes of the teacher on two competitions."""
    known = [competitions[name] for name in PLAYED[:2]]
    stopwatch = Stopwatch("test", "teacher")
    return play_teacher(
        known,
        9,
        TEACHER,
        0,
        Sandbox(runner, grade, runner.limits, "native"),
        EPISODES,
        2,
        stopwatch,
    )


@pytest.fixture(scope="module")
def tokenizer(written) -> PreTrainedTokenizerFast:
    return train_tokenizer([m.content for t in written for m in t.messages] + TEXTS, 500)


@pytest.fixture(scope="module")
def encoded(tokenizer, written) -> list[tuple[np.ndarray, np.ndarray]]:
    return [encode_episode(tokenizer, trajectory) for trajectory in written]


def tune(tokenizer, encoded, **changes) -> tuple[Qwen2ForCausalLM, list[float]]:
    settings = replace(TINY, **changes)
    model = new_model(tokenizer, settings)
    return model, fine_tune(model, encoded, settings, lambda step, steps, loss: None)


def test_the_teacher_plays_every_competition_equally_often(written):
    assert [t.competition for t in written] == [PLAYED[0]] * 5 + [PLAYED[1]] * 5
    assert {t.policy for t in written} == {"teacher"}
    assert any(turn.position_score for t in written for turn in t.turns)
    assert len({t.turns[0].text for t in written}) > 3


def test_the_mask_covers_what_the_assistant_wrote_and_the_end_of_its_turns(
    tokenizer, encoded, written
):
    for (ids, mask), trajectory in zip(encoded, written, strict=True):
        answers = [m.content for m in trajectory.messages if m.role == "assistant"]
        assert tokenizer.decode(ids[mask == 1]) == "".join(text + END for text in answers)
        assert len(ids) == len(mask) and mask[-1] == 1 and ids[-1] == tokenizer.eos_token_id


def test_a_frequent_line_is_one_token_or_a_call_and_its_arguments():
    line = "model = linear_model.Ridge(alpha=1.0)\n"
    trained = train_tokenizer([f"X, y = a, b\n{line}position: 0.25\n"] * 50, 400)
    ids = trained.encode(f"X, y = a, b\n{line}position: 0.75\n")
    assert [trained.decode([token]) for token in ids[:3]] == [
        "X, y = a, b\n",
        "model = linear_model.Ridge(",
        "alpha=1.0)\n",
    ]
    assert trained.decode(ids[3:]) == "position: 0.75\n" and trained.decode(ids[3]) == "position: "


def test_an_episode_is_encoded_as_the_template_renders_it(tokenizer, encoded, written):
    for (ids, _), trajectory in zip(encoded, written, strict=True):
        chat = [{"role": m.role, "content": m.content} for m in trajectory.messages[:-1]]
        rendered = tokenizer.apply_chat_template(chat, tokenize=False)
        assert tokenizer.decode(ids) + "\n" == rendered
        assert ids.tolist() == tokenizer.encode(rendered)[: len(ids)]


def test_an_episode_is_encoded_as_a_policy_would_meet_it(tokenizer, written):
    """The prompt of an answer is the same tokens, whatever comes after it."""
    whole, mask = encode_episode(tokenizer, written[0])
    first = replace(written[0], messages=written[0].messages[:3])
    part, part_mask = encode_episode(tokenizer, first)
    assert whole[: len(part)].tolist() == part.tolist()
    assert mask[: len(part)].tolist() == part_mask.tolist()


def test_the_loss_is_that_of_transformers_on_the_assistants_tokens(tokenizer, encoded):
    _, losses = tune(tokenizer, encoded, batch_size=len(encoded))
    model = new_model(tokenizer, TINY)
    labels = [np.where(mask == 1, ids, -100) for ids, mask in encoded]
    summed = sum(
        model(
            input_ids=torch.from_numpy(ids)[None], labels=torch.from_numpy(label)[None]
        ).loss.item()
        * mask.sum()
        for (ids, mask), label in zip(encoded, labels, strict=True)
    )
    assert losses == [pytest.approx(summed / sum(mask.sum() for _, mask in encoded), rel=1e-5)]


def test_the_loss_falls(tokenizer, encoded):
    _, losses = tune(tokenizer, encoded[:1], epochs=30, learning_rate=0.03)
    assert len(losses) == 30
    assert losses[-1] < 0.5 * losses[0]


def test_batches_hold_every_episode_once_an_epoch(tokenizer, encoded):
    seen = []
    settings = replace(TINY, batch_size=3, epochs=2)
    fine_tune(new_model(tokenizer, settings), encoded, settings, lambda *step: seen.append(step))
    assert [(step, steps) for step, steps, _ in seen] == [(number, 8) for number in range(8)]


def test_observations_that_nobody_answers_are_not_learned(tokenizer, encoded):
    ids, mask = encoded[0]
    longer = np.append(ids, [5, 6, 7]), np.append(mask, [0, 0, 0])
    one, _ = tune(tokenizer, [(ids, mask)] * 4)
    other, _ = tune(tokenizer, [longer] * 4)
    for left, right in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-6)


def test_training_is_repeated_exactly_and_leaves_the_global_generators_alone(tokenizer, encoded):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, losses = tune(tokenizer, encoded)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    two, again = tune(tokenizer, encoded)
    assert losses == again
    for left, right in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(left, right)
    assert tune(tokenizer, encoded, seed=1)[1] != losses


@pytest.fixture(scope="module")
def warm(written, tmp_path_factory) -> tuple[Path, list[float]]:
    folder = tmp_path_factory.mktemp("warm") / "model"
    return folder, warm_start(written, replace(TINY, epochs=2), folder)


def test_a_warm_started_model_is_a_policy(warm, written):
    folder, losses = warm
    model = LocalModel(folder, SamplingSettings(1.0, 16, 1024, 4))
    assert losses[-1] < losses[0]
    text = "\n".join(m.content for m in written[0].messages)
    assert model.tokenizer.decode(model.tokenizer.encode(text)) == text
    assert model.tokenizer.eos_token == END != model.tokenizer.pad_token
    assert model.model.config.vocab_size == len(model.tokenizer)


def test_warm_starting_again_writes_the_same_bytes(warm, written, tmp_path):
    folder, _ = warm
    warm_start(written, replace(TINY, epochs=2), tmp_path)
    for name in ("model.safetensors", "tokenizer.json", "config.json", "chat_template.jinja"):
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()


def test_rare_messages_do_not_take_part_in_the_vocabulary(written, tmp_path):
    def vocabulary(last: str) -> bytes:
        noisy = [replace(t, messages=(*t.messages, Message("user", last))) for t in written]
        warm_start(noisy[:4], TINY, tmp_path / last)
        return (tmp_path / last / "tokenizer.json").read_bytes()

    assert vocabulary("crashed: zqxj") == vocabulary("refused: jxqz")
    assert vocabulary("position: zqxj") != vocabulary("refused: zqxj")


def test_the_shipped_settings_are_complete():
    settings = section(CONFIG, "warm_start", WarmStartSettings)
    assert settings.hidden_size % settings.heads == 0 and settings.heads % 2 == 0
