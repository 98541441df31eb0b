"""What several test modules share: small competitions, a fork server, a tiny model, a browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from sandboxes import LIMITS

from agent.competitions.folder import prepare_competition
from agent.competitions.loading import load_competition
from agent.competitions.suite import find_entry
from agent.core.competition import Competition
from agent.core.settings import read_config, section
from agent.sandbox.opening import SandboxSettings
from agent.sandbox.runner import WarmRunner

# How long an example takes says something of the machine, not of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).parent.parent
CONFIG = read_config(str(ROOT / "config/config.yaml"))
# One for each kind of submission: labels, probabilities, values, positive values; a time series.
PLAYED = (
    "wine-macro-f1-unit-errors",
    "iris-log-loss-irrelevant-columns",
    "engel-mae-outliers",
    "cancer-poisson-deviance-count-target",
    "investment-mae-unit-errors",
)


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
    """Runs programs with the study's libraries, and stops them earlier."""
    settings = section(CONFIG, "sandbox", SandboxSettings)
    with WarmRunner(LIMITS, settings.modules) as warm:
        warm.wait_until_ready()
        yield warm


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_model import write_tiny_model  # only tests that need a model pay for the import

    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny policy and reference for verl."""
    from verl_toys import write_tiny_model  # only tests that update a model pay for the import

    return write_tiny_model(tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from browsing import start_chromium  # only tests that need a web browser pay for the import

    with start_chromium() as browser:
        yield browser


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages, of which none may complain or ask for anything beside its folder."""
    from browsing import watched_pages

    with watched_pages(chromium) as open_page:
        yield open_page


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study's trajectory browser."""
    from browsable import build, write_study

    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    build(folder, folder / "page")
    return folder / "page"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
