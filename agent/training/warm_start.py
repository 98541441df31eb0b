"""Making the embedded study's base model: tokenizer, tiny Qwen2, supervised fine-tuning.

The episodes come from the teacher playing the real environment on training competitions. The loss
is the cross-entropy of the assistant's tokens, end of turn included.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from agent.core.chat import append_action, extend_context
from agent.core.files import unfinished
from agent.core.records import Conversation, Trajectory

PADDING, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class WarmStartSettings:
    seed: int
    episodes: int
    vocabulary: int
    hidden_size: int
    layers: int
    heads: int
    feed_forward: int
    context_tokens: int
    batch_size: int
    learning_rate: float
    epochs: int


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE that splits at line ends, before the arguments of an assigned call, and
    around numbers that follow a colon.

    A tiny model then writes a line in one or two tokens: it chooses a model, then its arguments,
    and has no spelling to get wrong. Scores stay numbers.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[^\n]*\n|[^\n]+"), "isolated"),
            pre_tokenizers.Split(Regex(r"^\w+ = [\w.]+\("), "isolated"),
            pre_tokenizers.Split(Regex(r"(?<=: )[0-9.]+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PADDING, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=160,
        min_frequency=3,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PADDING, chat_template=CHATML
    )


def new_model(tokenizer: Any, settings: WarmStartSettings) -> Qwen2ForCausalLM:
    """A Qwen2 of the given size with random weights from `settings.seed`."""
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.feed_forward,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads // 2,
        max_position_embeddings=settings.context_tokens,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return Qwen2ForCausalLM(config)


def encode_episode(tokenizer: Any, trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and loss mask of a written episode, up to its last answer, (tokens,) each."""
    written, conversation = trajectory.messages, Conversation()
    for position, message in enumerate(written):
        if message.role != "assistant":
            continue
        conversation.messages = list(written[:position])
        extend_context(tokenizer, conversation)
        answer = [
            *tokenizer.encode(message.content, add_special_tokens=False),
            tokenizer.eos_token_id,
        ]
        append_action(conversation, answer, [0.0] * len(answer))
    return np.asarray(conversation.token_ids), np.asarray(conversation.action_mask)


def fine_tune(
    model: Qwen2ForCausalLM,
    episodes: Sequence[tuple[np.ndarray, np.ndarray]],
    settings: WarmStartSettings,
    on_step: Callable[[int, int, float], None],
) -> list[float]:
    """Supervised fine-tuning in place; returns the loss of every step."""
    rng = np.random.default_rng(settings.seed)
    batches = [
        batch
        for _ in range(settings.epochs)
        for batch in _batches([len(ids) for ids, _ in episodes], settings.batch_size, rng)
    ]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 20) * (1.02 - step / len(batches))
    )
    losses = []
    model.train()
    for step, batch in enumerate(batches):
        loss = _loss(model, [episodes[row] for row in batch])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        on_step(step, len(batches), losses[-1])
    model.eval()
    return losses


def _loss(model: Qwen2ForCausalLM, rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> torch.Tensor:
    width = max(len(ids) for ids, _ in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.bool)
    for row, (tokens, actions) in enumerate(rows):
        ids[row, : len(tokens)] = torch.from_numpy(tokens)
        mask[row, : len(tokens)] = torch.from_numpy(actions == 1)
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    asked = mask[:, 1:]
    return F.cross_entropy(model.lm_head(hidden[asked]), ids[:, 1:][asked])


def _batches(lengths: Sequence[int], size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Batches of episodes of similar length, in random order."""
    order = np.argsort(np.asarray(lengths) + rng.uniform(0, 20, len(lengths)), kind="stable")
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    return [batches[index] for index in rng.permutation(len(batches))]


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a Hugging Face folder, complete or not at all."""
    with unfinished(folder) as partial:
        try:
            model.save_pretrained(partial)
        except SafetensorError as full:
            raise OSError(str(full)) from full
        tokenizer.save_pretrained(partial)


def _common_texts(written: Sequence[Trajectory]) -> Iterator[str]:
    """What the vocabulary is made for: tasks, programs and scores, not rare error messages."""
    for episode in written:
        for message in episode.messages:
            yield f"{message.role}\n"
            if message.role != "user" or message.content.startswith(("task", "position")):
                yield message.content


def warm_start(
    written: Sequence[Trajectory], settings: WarmStartSettings, folder: Path
) -> list[float]:
    """Make tokenizer and model, fine-tune on written episodes, save; returns the losses."""
    torch.set_num_threads(1)
    tokenizer = train_tokenizer(_common_texts(written), settings.vocabulary)
    model = new_model(tokenizer, settings)
    episodes = [encode_episode(tokenizer, trajectory) for trajectory in written]
    progress = tqdm(total=settings.epochs * len(episodes) // settings.batch_size, disable=None)

    def on_step(step: int, steps: int, loss: float) -> None:
        progress.update()
        if progress.disable and step % 50 == 0:
            print(f"step {step}/{steps} loss {loss:.3f}", flush=True)

    losses = fine_tune(model, episodes, settings, on_step)
    save_model(model, tokenizer, folder)
    return losses
