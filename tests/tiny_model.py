"""A random Qwen2 made as the warm start makes its own, for the tests of sampling and training."""

from pathlib import Path

import torch

from agent.core.local_model import SamplingSettings
from agent.training.warm_start import WarmStartSettings, new_model, save_model, train_tokenizer

TINY = WarmStartSettings(
    seed=0,
    episodes=0,
    vocabulary=420,
    hidden_size=32,
    layers=2,
    heads=4,
    feed_forward=64,
    context_tokens=512,
    batch_size=4,
    learning_rate=0.01,
    epochs=1,
)
SAMPLING = SamplingSettings(temperature=1.0, max_new_tokens=16, context_tokens=512, batch_size=8)
TEXTS = [
    "import pandas as pd\nX, y = train.drop(columns=['id']), 12.5\nmodel.fit(X, y) # it's fine .\n",
    "system\n",
    "user\n",
    "assistant\n",
    "position: 0.50\nturns left: 3\n",
] * 5


def write_tiny_model(folder: Path) -> Path:
    """Its weights are large, so that its guesses are far from uniform."""
    tokenizer = train_tokenizer(TEXTS, TINY.vocabulary)
    model = new_model(tokenizer, TINY)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() == 2:
                weights.normal_(0, 0.2, generator=generator)
    save_model(model, tokenizer, folder)
    return folder
