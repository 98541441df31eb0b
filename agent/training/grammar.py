"""A grammar of real programs, good and bad, from which the warm start's episodes are made.

Every program is complete scikit-learn code: a fixed header, then one decision per line and no
number repeated, because a tiny model cannot copy over long ranges. Choices are drawn without
regard to metric or condition: which program suits which competition is what PPO has to find out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

HEADER = """\
import numpy as np
import pandas as pd
from sklearn import discriminant_analysis, dummy, ensemble, linear_model
from sklearn import naive_bayes, neighbors, tree
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler
train = pd.read_csv("train.csv")
test = pd.read_csv("test.csv")
submission = pd.read_csv("sample_submission.csv")
X, y = train.drop(columns=["id", "target"]), train["target"]
T = test.drop(columns=["id"])
"""
FOOTER = 'submission.to_csv("submission.csv", index=False)\n'

# One entry per model family: its constructor and the arguments it may be given.
CLASSIFIERS: dict[str, tuple[str, ...]] = {
    "linear_model.LogisticRegression": ("C=0.1, max_iter=300", "C=1.0, max_iter=300"),
    "discriminant_analysis.LinearDiscriminantAnalysis": ('solver="lsqr", shrinkage="auto"',),
    "naive_bayes.GaussianNB": ("",),
    "neighbors.KNeighborsClassifier": ("n_neighbors=5", "n_neighbors=20"),
    "tree.DecisionTreeClassifier": ("max_depth=3", "max_depth=10"),
    "ensemble.RandomForestClassifier": (
        "n_estimators=40, random_state=0",
        "n_estimators=40, min_samples_leaf=5, random_state=0",
    ),
    "ensemble.ExtraTreesClassifier": (
        "n_estimators=40, random_state=0",
        "n_estimators=40, max_features=None, random_state=0",
    ),
    "ensemble.HistGradientBoostingClassifier": ("max_iter=40, max_leaf_nodes=5, random_state=0",),
    "ensemble.GradientBoostingClassifier": (
        "n_estimators=40, max_depth=2, subsample=0.7, random_state=0",
    ),
    "dummy.DummyClassifier": ("",),
}
REGRESSORS: dict[str, tuple[str, ...]] = {
    "linear_model.Ridge": ("alpha=1.0", "alpha=30.0"),
    "linear_model.LassoCV": ("alphas=20, cv=4",),
    "linear_model.HuberRegressor": ("max_iter=300",),
    "linear_model.QuantileRegressor": ("alpha=0.001",),
    "linear_model.PoissonRegressor": ("alpha=0.1, max_iter=300",),
    "neighbors.KNeighborsRegressor": ("n_neighbors=5", "n_neighbors=20"),
    "tree.DecisionTreeRegressor": ("max_depth=3", "max_depth=10"),
    "ensemble.RandomForestRegressor": (
        "n_estimators=25, max_features=0.5, random_state=0",
        "n_estimators=25, max_features=0.5, min_samples_leaf=5, random_state=0",
    ),
    "ensemble.ExtraTreesRegressor": (
        "n_estimators=25, random_state=0",
        "n_estimators=25, min_samples_leaf=5, random_state=0",
    ),
    "ensemble.HistGradientBoostingRegressor": (
        "max_iter=40, max_leaf_nodes=7, random_state=0",
        'loss="absolute_error", max_iter=40, max_leaf_nodes=7, random_state=0',
    ),
    "ensemble.GradientBoostingRegressor": (
        "n_estimators=25, learning_rate=0.2, max_depth=2, random_state=0",
        'loss="huber", n_estimators=25, learning_rate=0.2, max_depth=2, random_state=0',
    ),
    "dummy.DummyRegressor": ("", 'strategy="median"'),
}
FEATURES: dict[str, str] = {
    "as they are": "",
    "clipped": (
        "low, high = X.quantile([0.05, 0.95]).to_numpy()\n"
        "X, T = X.clip(low, high, axis=1), T.clip(low, high, axis=1)\n"
    ),
    "logarithmic": ("X, T = np.sign(X) * np.log1p(np.abs(X)), np.sign(T) * np.log1p(np.abs(T))\n"),
    "correlated": (
        "columns = X.corrwith(y).abs().nlargest(8).index\nX, T = X[columns], T[columns]\n"
    ),
}
ROWS: dict[str, str] = {
    "all": "",
    "without extremes": "keep = y <= y.quantile(0.9)\nX, y = X[keep], y[keep]\n",
}
SCALERS: dict[str, str] = {
    "none": "",
    "standard": "model = make_pipeline(StandardScaler(), model)\n",
    "quantile": "model = make_pipeline(QuantileTransformer(n_quantiles=20), model)\n",
}
TARGETS: dict[str, str] = {
    "plain": "",
    "log": ("model = TransformedTargetRegressor(model, func=np.log1p, inverse_func=np.expm1)\n"),
    "change": 'y = y - X["lag1"]\n',
}
OUTPUTS: dict[str, str] = {
    "values": 'submission["target"] = model.predict(T)\n',
    "positive values": 'submission["target"] = np.clip(model.predict(T), 0.001, None)\n',
    "changes": 'submission["target"] = model.predict(T) + test["lag1"]\n',
    "labels": 'submission["target"] = model.predict(T)\n',
    "probability": 'submission["target"] = model.predict_proba(T)[:, 1]\n',
    "probabilities": "submission.iloc[:, 1:] = model.predict_proba(T)\n",
    "nothing": "print(model.score(X, y))\n",
}
# Slips a beginner makes, as (what is written, what comes instead).
SLIPS: tuple[tuple[str, str], ...] = (
    ("import pandas as pd\n", ""),
    ('T = test.drop(columns=["id"])\n', "T = test\n"),
    ("model.fit(X, y)\n", ""),
    ('columns=["id", "target"]', 'columns=["id"]'),
)


@dataclass(frozen=True, slots=True)
class Task:
    """What a program's author reads in the description."""

    metric: str
    condition: str
    classification: bool
    output: str  # the key of OUTPUTS that the competition asks for
    has_lags: bool


@dataclass(frozen=True, slots=True)
class ProgramChoices:
    """One program as its decisions; keys of the tables above.

    The remark repeats what the task asks for just before the decisions, as plan-then-code prompts
    make larger models do: a tiny model has read the task by the time it chooses.
    """

    remark: str
    classification: bool
    family: str
    arguments: str
    features: str
    rows: str
    scaler: str
    target: str
    output: str

    def source(self) -> str:
        change = TARGETS[self.target] if self.target == "change" else ""
        wrapper = TARGETS[self.target] if self.target == "log" else ""
        return (
            HEADER
            + self.remark
            + ROWS[self.rows]
            + change
            + FEATURES[self.features]
            + f"model = {self.family}({self.arguments})\n"
            + SCALERS[self.scaler]
            + wrapper
            + "model.fit(X, y)\n"
            + OUTPUTS[self.output]
            + FOOTER
        )


def random_program(task: Task, mistakes: float, rng: np.random.Generator) -> ProgramChoices:
    """Draw a program for `task`; with probability `mistakes` one decision does not fit it.

    Classifiers are never put on a regression: with hundreds of classes they run for minutes.
    """
    mistaken = rng.random() < mistakes
    kind = rng.integers(3) if mistaken else -1
    classification = task.classification and kind != 0
    families = CLASSIFIERS if classification else REGRESSORS
    family = _pick(list(families), rng)
    target = "plain"
    if not classification:
        # A change added to the latest value may be negative where only positive values are valid.
        lags = (task.has_lags and task.output == "values") or kind == 1
        target = _pick(["plain"] * 5 + ["log"] * 2 + ["change"] * (2 if lags else 0), rng)
    output = _pick(list(OUTPUTS), rng) if kind == 2 else task.output
    if target == "change" and output in ("values", "positive values"):
        output = "changes"
    return ProgramChoices(
        remark=f"# {task.metric}\n# {task.condition}\n",
        classification=classification,
        family=family,
        arguments=_pick(families[family], rng),
        features=_pick(["as they are"] * 3 + list(FEATURES)[1:], rng),
        rows="without extremes" if not classification and rng.random() < 0.15 else "all",
        scaler=_pick(["none", "none", "standard", "standard", "quantile"], rng),
        target=target,
        output=output,
    )


def vary(choices: ProgramChoices, task: Task, rng: np.random.Generator) -> ProgramChoices:
    """Change one decision of a program and keep its model family."""
    other = random_program(task, 0.0, rng)
    families = CLASSIFIERS if choices.classification else REGRESSORS
    slot = _pick(["arguments", "features", "scaler"], rng)
    if slot == "arguments":
        return replace(choices, arguments=_pick(families[choices.family], rng))
    return replace(choices, **{slot: getattr(other, slot)})


def with_slip(source: str, rng: np.random.Generator) -> str:
    """The same program with one beginner's slip; it crashes or submits nothing of use."""
    right, wrong = SLIPS[rng.integers(len(SLIPS))]
    return source.replace(right, wrong)


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
