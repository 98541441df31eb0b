"""Runs one of MLE-Dojo's own environments: the child process of `mledojo_environment`.

It reads requests and writes answers, one line of JSON each. The environment needs the main thread
of its process, prints to standard output and lets programs inherit standard input: therefore the
two pipes are moved out of their way. It imports nothing of this project, but what a metric needs.
"""

import base64
import json
import logging
import os
import pickle
import sys
import tempfile
from pathlib import Path
from typing import Any, TextIO

Results = list[dict[str, Any]]  # what upstream's interfaces found, one for each step


def main() -> None:
    """Serve requests until there are none; the first line has the settings."""
    requests, answers = private_pipes()
    environment, results = open_environment(json.loads(requests.readline()))
    say(answers, {"ready": True})
    for line in requests:
        say(answers, step(environment, results, json.loads(line)))


def open_environment(settings: dict[str, Any]) -> tuple[Any, Results]:
    """An upstream environment, and the list to which it appends the result of every step.

    settings: checkout, project, name, data, output, seconds, memory_gb, metric (a pickled `Metric`;
    None for the one that the checkout has for `name`).
    """
    # A logger that has a handler gets none that copies all that programs print to standard error.
    logging.getLogger("mledojo.sandbox").addHandler(logging.NullHandler())
    for folder in (settings["checkout"], settings["project"]):
        if folder not in sys.path:
            sys.path.append(folder)
    from mledojo.gym.competition import CompetitionRegistry, CompInfo
    from mledojo.gym.env import KaggleEnvironment
    from mledojo.gym.feedback import FeedbackManager

    results: Results = []

    class Recorder(FeedbackManager):
        """Passes feedback on, and keeps the facts that it words."""

        def get_feedback(self, requests: dict[str, dict[str, Any]]) -> dict[str, Any]:
            results.append(requests["base"]["raw_results"])
            return super().get_feedback(requests)

    metric = _metric_class(settings)
    registry = CompetitionRegistry(settings["name"], settings["data"], CompInfo(), metric)
    environment = KaggleEnvironment.make(
        settings["name"],
        settings["output"],
        registry,
        memory_limit=settings["memory_gb"],
        execution_timeout=settings["seconds"],
        custom_feedback_manager=Recorder(),
    )
    return environment, results


def step(environment: Any, results: Results, request: dict[str, Any]) -> dict[str, Any]:
    """Take one step in `request["folder"]`: where the program starts and leaves its submission.

    Where upstream raises, the result is None unless it had been found by then; and the history,
    which it may have left half written, is begun afresh.
    """
    results.clear()
    environment.output_dir = Path(request["folder"])
    tempfile.tempdir = request["folder"]  # upstream starts programs where it wrote them
    raised = ""
    try:
        environment.step(request["action"], code=request["code"])
    except Exception as error:
        raised = f"{type(error).__name__}: {error}"
        environment.reset()
    return {"result": results[0] if results else None, "raised": raised}


def _metric_class(settings: dict[str, Any]) -> Any:
    import numpy as np
    from mledojo.competitions import get_metric
    from mledojo.metrics.base import CompetitionMetrics

    if not hasattr(np, "trapz"):  # NumPy 2.4 lacks the old name that two metrics use
        np.trapz = np.trapezoid  # type: ignore[attr-defined]
    if settings["metric"] is None:
        return get_metric(settings["name"])
    metric = pickle.loads(base64.b64decode(settings["metric"]))

    class Given(CompetitionMetrics):
        """A metric of this project, as upstream calls metrics."""

        def __init__(self) -> None:
            super().__init__(metric.higher_is_better)

        def evaluate(self, y_true: Any, y_pred: Any) -> float:
            return metric.evaluate(y_true, y_pred)

        def validate_submission(self, submission: Any, ground_truth: Any) -> None:
            metric.validate(submission, ground_truth)

    return Given


def private_pipes() -> tuple[TextIO, TextIO]:
    """Standard input and output under numbers that no program inherits; nothing in their place."""
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    return requests, answers


def say(answers: TextIO, answer: dict[str, Any]) -> None:
    # Some metrics return numpy's numbers, which `item` makes Python's.
    answers.write(json.dumps(answer, default=lambda number: number.item()) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
