"""MLE-Dojo's metric classes as our `Metric`, from a checkout that is used where it lies."""

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agent.core.competition import InvalidSubmissionError


@dataclass(frozen=True, slots=True)
class UpstreamMetric:
    """One competition's metric; whatever it raises, it says of the submission, as upstream does.

    Both methods work on copies, since many of upstream's change the tables that they are given; to
    evaluate is to validate first, since some metrics read what their validation has changed.
    """

    name: str
    higher_is_better: bool
    checkout: Path
    upstream: Any  # an instance of mledojo's `CompetitionMetrics`

    def validate(self, submission: pd.DataFrame, answers: pd.DataFrame) -> None:
        try:
            self.upstream.validate_submission(submission.copy(), answers.copy())
        except Exception as wrong:
            raise InvalidSubmissionError(str(wrong)) from wrong

    def evaluate(self, answers: pd.DataFrame, submission: pd.DataFrame) -> float:
        truth, given = answers.copy(), submission.copy()
        try:
            self.upstream.validate_submission(given, truth)  # may change what is evaluated then
            return float(self.upstream.evaluate(truth, given))
        except Exception as wrong:
            raise InvalidSubmissionError(f"the metric cannot be computed: {wrong}") from wrong


def load_metric(checkout: Path, slug: str) -> UpstreamMetric:
    """Raises ValueError, with what upstream printed, for a metric that cannot be loaded."""
    if not (checkout / "mledojo/competitions" / slug).is_dir():
        raise ValueError(f"mle_dojo.checkout {checkout}: no competition {slug}; check its name")
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    from mledojo.competitions import get_metric

    if not hasattr(np, "trapz"):  # NumPy 2.4 lacks the old name that two metrics use
        np.trapz = np.trapezoid  # type: ignore[attr-defined]
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        found = get_metric(slug)
    if found is None:
        raise ValueError(f"{slug}: MLE-Dojo's metric cannot be loaded: {told.getvalue().strip()}")
    metric = found()
    return UpstreamMetric(found.__name__, bool(metric.higher_is_better), checkout, metric)
