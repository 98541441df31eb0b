"""Actions per minute of our engine against MLE-Dojo's own environment, on the same episodes.

Programs train a model in about a second, most of which upstream spends on starting Python and
importing libraries. Every action is taken by both engines in turn, so that both see the same
machine; starting an engine is counted for neither. Needs a checkout of MLE-Dojo: its folder in
MLE_DOJO_CHECKOUT, or MLE-Dojo/checkout.
"""

import os
import tempfile
import time
from pathlib import Path

from agent.competitions.folder import prepare_competition
from agent.competitions.loading import load_competition
from agent.competitions.suite import find_entry
from agent.core.actions import Action
from agent.core.environment import CompetitionEnvironment, Environment, grade
from agent.core.settings import read_config, section
from agent.sandbox.opening import SandboxSettings
from agent.sandbox.runner import WarmRunner
from agent.wrappers.mledojo_environment import UpstreamEnvironment, UpstreamLimits
from benchmarks.sandbox import LIMITS

ROOT = Path(__file__).parents[1]
COMPETITION = "wine-macro-f1-unit-errors"
EPISODES, TARGET = 3, 10.0
PROGRAM = """\
import pandas as pd
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.{module} import {model}
train, test = pd.read_csv("train.csv"), pd.read_csv("test.csv")
columns = [name for name in test.select_dtypes("number") if name != "id"]
model = make_pipeline(StandardScaler(), {model}())
model.fit(train[columns].fillna(0), train["target"])
labels = model.predict(test[columns].fillna(0))
test[["id"]].assign(target=labels).to_csv("submission.csv", index=False)
"""
MODELS = (
    ("linear_model", "LogisticRegression"),
    ("naive_bayes", "GaussianNB"),
    ("neighbors", "KNeighborsClassifier"),
    ("tree", "DecisionTreeClassifier"),
)
# A model is tried without a score, corrected, and scored.
EPISODE = tuple(
    Action(kind, PROGRAM.format(module=module, model=model))  # type: ignore[arg-type]
    for module, model in MODELS
    for kind in ("validate_code", "execute_code")
)


def run() -> dict[str, float]:
    """Nothing but a line that says so where there is no checkout."""
    checkout = Path(os.environ.get("MLE_DOJO_CHECKOUT") or ROOT / "MLE-Dojo/checkout")
    if not (checkout / "mledojo").is_dir():
        print(f"engines: skipped: {checkout} holds no MLE-Dojo; set MLE_DOJO_CHECKOUT")
        return {}
    settings = section(read_config(str(ROOT / "config/config.yaml")), "sandbox", SandboxSettings)
    with tempfile.TemporaryDirectory() as made, WarmRunner(LIMITS, settings.modules) as runner:
        folder = Path(made) / COMPETITION
        board = ROOT / f"config/leaderboards/{COMPETITION}.csv"
        prepare_competition(find_entry(COMPETITION), board, folder)
        competition = load_competition(folder, "both")
        limits = UpstreamLimits(LIMITS.seconds, None, LIMITS.output_kb)
        runner.wait_until_ready()
        ours, theirs = [], []
        for _ in range(EPISODES):
            native = CompetitionEnvironment(competition, runner, grade, len(EPISODE))
            with UpstreamEnvironment(competition, checkout, limits, len(EPISODE)) as upstream:
                _play(native, upstream, EPISODE[:1])
                one, other = _play(native, upstream, EPISODE)
            ours.append(one)
            theirs.append(other)
    return _summary(sum(ours), sum(theirs))


def _summary(ours: float, theirs: float) -> dict[str, float]:
    actions = EPISODES * len(EPISODE)
    return {
        "actions": actions,
        "native_actions_per_minute": 60 * actions / ours,
        "upstream_actions_per_minute": 60 * actions / theirs,
        "native_over_upstream": theirs / ours,
        "target": TARGET,
    }


def _play(
    native: Environment, upstream: Environment, episode: tuple[Action, ...]
) -> tuple[float, float]:
    """Seconds of each engine for all actions of an episode."""
    seconds = [(_step(native, action), _step(upstream, action)) for action in episode]
    ours, theirs = zip(*seconds, strict=True)
    return sum(ours), sum(theirs)


def _step(environment: Environment, action: Action) -> float:
    started = time.perf_counter()
    feedback = environment.step(action)
    if feedback.outcome != "ok":
        raise RuntimeError(f"engines: the program failed: {feedback.error}: {feedback.message}")
    return time.perf_counter() - started
