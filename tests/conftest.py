"""What several test modules share: a few small competitions, one fork server, one tiny model."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agent.competitions.folder import prepare_competition
from agent.competitions.loading import load_competition
from agent.competitions.suite import find_entry
from agent.core.competition import Competition
from agent.core.local_model import LocalModel, SamplingSettings
from agent.core.settings import read_config, section
from agent.rollout import SandboxSettings
from agent.sandbox.runner import ProgramLimits, WarmRunner
from agent.training.warm_start import WarmStartSettings, new_model, save_model, train_tokenizer

ROOT = Path(__file__).parent.parent
# One for each kind of submission: labels, probabilities, values, positive values.
PLAYED = (
    "wine-macro-f1-unit-errors",
    "iris-log-loss-irrelevant-columns",
    "engel-mae-outliers",
    "cancer-poisson-deviance-count-target",
)
CONFIG = read_config(str(ROOT / "config/config.yaml"))
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


@pytest.fixture(scope="session")
def competition_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The competitions of `PLAYED`, prepared as the workflow prepares them."""
    folder = tmp_path_factory.mktemp("played")
    for name in PLAYED:
        board = ROOT / f"config/leaderboards/{name}.csv"
        prepare_competition(find_entry(name), board, folder / name)
    return folder


@pytest.fixture(scope="session")
def competitions(competition_folder: Path) -> dict[str, Competition]:
    """Opened for the feedback half."""
    return {name: load_competition(competition_folder / name, "feedback") for name in PLAYED}


@pytest.fixture(scope="session")
def wine(competitions: dict[str, Competition]) -> Competition:
    return competitions["wine-macro-f1-unit-errors"]


@pytest.fixture(scope="session")
def runner() -> Iterator[WarmRunner]:
    """Runs programs as in the study, but stops them early."""
    settings = section(CONFIG, "sandbox", SandboxSettings)
    limits = ProgramLimits(20.0, 2048, file_mb=4, output_kb=2)
    with WarmRunner(limits, settings.modules) as warm:
        warm.wait_until_ready()
        yield warm


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2 whose tokenizer was trained on some code; its guesses are far from uniform."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    texts = ["import pandas as pd\nX, y = train.drop(), 12.5\n", "system\n", "user\n"] * 5
    tokenizer = train_tokenizer(texts, TINY.vocabulary)
    model = new_model(tokenizer, TINY)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() == 2:
                weights.normal_(0, 0.3, generator=generator)
    save_model(model, tokenizer, folder)
    return folder


@pytest.fixture(scope="session")
def local_model(tiny_model: Path) -> LocalModel:
    return LocalModel(tiny_model, SAMPLING)


@pytest.fixture(scope="session")
def greedy_model(tiny_model: Path) -> LocalModel:
    return LocalModel(tiny_model, replace(SAMPLING, temperature=0.0))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
