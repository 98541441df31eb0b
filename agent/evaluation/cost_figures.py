"""What training cost against what it was worth."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from agent.evaluation.figures import BLUE, COLUMN, title_with_note
from agent.evaluation.score_figures import draw_levels, held_out_curve
from agent.evaluation.statistics import Array, Estimate

# What is counted, how a panel is named, and how its axis.
COSTS = {
    "tokens": ("Tokens the policy wrote in training", "Thousand tokens per run"),
    "programs": ("Programs it submitted in training", "Programs per run"),
}
COST_METRICS = ("sampled_tokens", "executions_per_episode", "episodes")


def cost_against_score(
    scores: pd.DataFrame, metrics: pd.DataFrame, resamples: int, seed: int
) -> Figure:
    """Held-out IQM against tokens and programs that training had used until then."""
    iterations, curve, each_run = held_out_curve(scores, resamples, seed)
    figure = Figure(figsize=(COLUMN, 4.0))
    panels = figure.subplots(2, 1, sharey=True)
    for axes, (name, (title, unit)) in zip(panels, COSTS.items(), strict=True):
        spent = spent_before(metrics, name).loc[iterations]
        _draw_cost(axes, spent, curve, each_run)
        title_with_note(axes, title, "IQM on held-out competitions; each run thin")
        axes.set(xlabel=unit, ylabel="Position score", ylim=(0, 1))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        draw_levels(axes, scores, float(curve.value[-1]))
    return figure


def spent_before(metrics: pd.DataFrame, cost: str) -> pd.DataFrame:
    """What a run (column) had used when the checkpoint of an iteration (row) was there."""
    used = {
        "tokens": metrics["sampled_tokens"] / 1000,
        "programs": metrics["executions_per_episode"] * metrics["episodes"],
    }[cost]
    by_run = metrics.assign(used=used).pivot(index="iteration", columns="seed", values="used")
    by_run.loc[0] = 0.0
    return by_run.sort_index().cumsum()


def _draw_cost(axes: Axes, spent: pd.DataFrame, curve: Estimate, each_run: Array) -> None:
    after = spent.to_numpy()[1:]
    axes.plot(after, each_run, color=BLUE, alpha=0.35, linewidth=0.7)
    middle = spent.mean(axis=1)
    errors = [curve.value - curve.low, curve.high - curve.value]
    axes.errorbar(middle, curve.value, errors, color=BLUE, marker="o", capsize=2, elinewidth=0.8)
