"""What batching is worth: tokens per second of many conversations against one at a time."""

import tempfile
import time
from pathlib import Path

from agent.core.local_model import LocalModel, SamplingSettings
from agent.training.grammar import HEADER
from agent.training.warm_start import WarmStartSettings, new_model, save_model, train_tokenizer

SIZE = WarmStartSettings(
    seed=0,
    episodes=0,
    vocabulary=512,
    hidden_size=128,
    layers=2,
    heads=4,
    feed_forward=256,
    context_tokens=512,
    batch_size=1,
    learning_rate=0.0,
    epochs=0,
)
ROWS, NEW_TOKENS = 64, 64


def run() -> dict[str, float]:
    tokenizer = train_tokenizer([HEADER] * 4, SIZE.vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        save_model(new_model(tokenizer, SIZE), tokenizer, Path(folder))
        model = LocalModel(folder, SamplingSettings(1.0, NEW_TOKENS, 512, ROWS))
    contexts = [tokenizer.encode(HEADER)[:60]] * ROWS
    batched = _tokens_per_second(model, contexts, ROWS)
    single = _tokens_per_second(model, contexts[: ROWS // 8], 1)
    return {
        "batched_tokens_per_second": batched,
        "single_tokens_per_second": single,
        "batched_over_single": batched / single,
    }


def _tokens_per_second(model: LocalModel, contexts: list[list[int]], rows: int) -> float:
    started, tokens = time.perf_counter(), 0
    for first in range(0, len(contexts), rows):
        part = contexts[first : first + rows]
        sampled = model.sample(part, list(range(first, first + len(part))))
        tokens += sum(len(ids) for ids, _ in sampled)
    return tokens / (time.perf_counter() - started)
