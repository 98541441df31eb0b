"""Legitimate programs that fit every pipeline of the reference pool, from the pool's own source."""

from pathlib import Path
from textwrap import dedent

from agent.competitions import pool_models, pool_steps, reference_pool
from agent.competitions.reference_pool import CLASSIFIER_PLAN, REGRESSOR_PLAN

_FUTURE = "from __future__ import annotations"
# Names that the pool's annotations use come from modules that programs do not have.
_FIT = dedent(
    """
    warnings.simplefilter("ignore")
    train, test = pd.read_csv("train.csv"), pd.read_csv("test.csv")
    features = [table[["x0", "x1", "x2", "x3"]].assign(lag1=table["x0"]) for table in (train, test)]
    target = train["target"]
    if TASK == "classification":
        target = (target > target.median()).astype(int)
    else:
        target = target - target.min() + 1
    total, fitted = np.zeros(len(test)), 0
    for name, factory in pipelines(TASK, lagged=True).items():
        if not name.startswith(PREFIX):
            continue
        try:
            model = factory().fit(features[0], target.to_numpy())
            predictions = (
                model.predict_proba(features[1])[:, 1]
                if TASK == "classification"
                else model.predict(features[1])
            )
        except (ValueError, np.linalg.LinAlgError) as error:
            print(name, type(error).__name__)
            continue
        print(name, round(float(predictions.sum()), 6))
        total, fitted = total + predictions, fitted + 1
    submission = pd.DataFrame({"id": test["id"], "target": (total / max(fitted, 1)).round(6)})
    submission.to_csv("submission.csv", index=False)
    """
)


def _pool() -> str:
    """The pool in one file: without what it imports from this project."""
    sources = [Path(str(m.__file__)).read_text() for m in (pool_steps, pool_models, reference_pool)]
    lines = "\n".join(sources).splitlines()
    kept = [line for line in lines if not line.startswith(("from agent.", _FUTURE))]
    return "\n".join([_FUTURE, *kept])


def _program(pool: str, task: str, prefix: str) -> str:
    return f"{pool}\n\nTASK, PREFIX = {task!r}, {prefix!r}\n{_FIT}"


def pipelines() -> dict[str, str]:
    """One program for each group of pipelines that share a preparation."""
    pool = _pool()
    classifiers = {
        f"classify {preparation}": _program(pool, "classification", f"{preparation}+")
        for preparation in CLASSIFIER_PLAN
    }
    regressors = {
        f"regress {target} {preparation}": _program(pool, "regression", f"{target}:{preparation}+")
        for target, preparation in REGRESSOR_PLAN
    }
    return classifiers | regressors
