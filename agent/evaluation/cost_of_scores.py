"""What a score costs: sampled tokens and seconds of playing, and of the training behind a gain."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from agent.evaluation.headline import GROUP
from agent.evaluation.time_split import JobTiming

SECONDS = ("generate_seconds", "execute_seconds", "grade_seconds")
PLAYED_COLUMNS = ("seed", "sampled_tokens", *SECONDS)
POINT = 0.01  # of position score


def cost_table(
    scores: pd.DataFrame,
    base: pd.DataFrame,
    trained: pd.DataFrame,
    training: pd.DataFrame,
    jobs: Sequence[JobTiming],
) -> pd.DataFrame:
    """One row for playing each agent on held-out competitions, one for all training.

    `base`, `trained` and `training` have one row per episode with PLAYED_COLUMNS, `jobs` are those
    of the training. `brought` is the mean score of the episodes or, for training, the gain in mean
    score; costs per point are empty where that is not above 0. Seconds are those of the processes
    that played or learned, one after the other, however many ran at once; tokens are the sampled
    ones.
    """
    score = {
        policy: _mean_score(scores, policy, played["seed"].nunique())
        for policy, played in (("base", base), ("trained", trained))
    }
    worked = sum(job.ended - job.started for job in jobs)
    gain = score["trained"] - score["base"]
    return pd.DataFrame(
        [
            _row("evaluation", "base", base, _seconds(base), score["base"]),
            _row("evaluation", "trained", trained, _seconds(trained), score["trained"]),
            _row("training", "trained", training, worked, gain),
        ]
    )


def _mean_score(scores: pd.DataFrame, policy: str, runs: int) -> float:
    rows = scores[(scores["policy"] == policy) & (scores["group"] == GROUP)]
    last = rows[rows["iteration"] == rows["iteration"].max()]
    if last["seed"].nunique() != runs:
        raise ValueError(
            f"scores: {last['seed'].nunique()} runs of {policy}, but episodes of {runs}; give the "
            "episodes that were scored"
        )
    return float(last["score"].mean())


def _seconds(played: pd.DataFrame) -> float:
    return float(played[list(SECONDS)].to_numpy().sum())


def _row(
    stage: str, policy: str, played: pd.DataFrame, seconds: float, brought: float
) -> dict[str, Any]:
    """Costs of one episode in evaluation, of one run in training, and of a point they bring."""
    runs, episodes = played["seed"].nunique(), len(played)
    unit = episodes if stage == "evaluation" else runs
    tokens = float(played["sampled_tokens"].sum())
    points = brought / POINT if brought > 0 else float("nan")
    return {
        "stage": stage,
        "policy": policy,
        "n_runs": runs,
        "n_episodes": episodes,
        "unit": "episode" if stage == "evaluation" else "run",
        "brought": brought,
        "tokens": tokens / unit,
        "seconds": seconds / unit,
        **{name: float(played[name].sum()) / unit for name in SECONDS},
        "tokens_per_point": tokens / unit / points,
        "seconds_per_point": seconds / unit / points,
    }
