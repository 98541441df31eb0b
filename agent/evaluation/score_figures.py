"""Figures of scores: learning curves, gain per competition, profiles, distributions."""

from functools import partial
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from agent.evaluation.clustered import clustered_estimate
from agent.evaluation.figures import (
    BLUE,
    COLUMN,
    GREY,
    VERMILION,
    colour_of,
    label_lines,
    label_of,
    title_with_note,
)
from agent.evaluation.headline import GROUP
from agent.evaluation.inputs import AGENTS, FEEDBACK_ANSWERS, JUDGING_ANSWERS, Scoring
from agent.evaluation.scores import policies, score_matrix
from agent.evaluation.statistics import (
    Array,
    Estimate,
    Measure,
    ScoreMatrix,
    estimate,
    generator,
    iqm,
    mean,
    performance_profile,
    point,
)

THRESHOLDS = np.linspace(0.0, 1.0, 101)
PROFILE = partial(performance_profile, thresholds=THRESHOLDS)
# Of the table of competitions, what the figure of changes needs.
CHANGE_COLUMNS = (
    *("group", "competition", "base", "trained", "gain", "low", "high"),
    *("n_runs_base", "n_runs_trained"),
)
ON_A_PAGE = 30  # competitions that a figure shows in a size to be read, an even number
BINS = np.linspace(0.0, 1.0, 21)
DASHED: dict[str, Any] = {"linewidth": 0.8, "linestyle": (0, (4, 2))}


def learning_curves(
    scores: pd.DataFrame,
    metrics: pd.DataFrame,
    resamples: int,
    seed: int,
    told: Scoring,
    scoring: Scoring,
) -> Figure:
    """Training competitions (what training saw) above held-out competitions (what counts).

    `seen` in the metrics: the updates that the policy had seen whose episodes an update read.
    `told` says which answers agents are told of, `scoring` which ones judge them.
    """
    figure = Figure(figsize=(COLUMN, 4.0))
    seen, unseen = figure.subplots(2, 1, sharex=True, sharey=True)
    _draw_training(seen, metrics, resamples, seed)
    best = f"best of an episode on {FEEDBACK_ANSWERS[told]}: mean over runs"
    title_with_note(seen, "Training competitions", best)
    _draw_held_out(unseen, scores, resamples, seed)
    judged = f"interquartile mean (IQM) on {JUDGING_ANSWERS[scoring]}"
    title_with_note(unseen, "Held-out competitions", judged)
    for axes in (seen, unseen):
        axes.set(ylim=(0, 1), ylabel="Position score")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    unseen.set_xlabel("Updates")
    return figure


def _draw_training(axes: Axes, metrics: pd.DataFrame, resamples: int, seed: int) -> None:
    # One policy may have played two iterations, each with as many episodes.
    by_run = metrics.pivot_table(index="seen", columns="seed", values="mean_best_position")
    curve = mean_of_runs(by_run, resamples, seed)
    _curve(axes, list(by_run.index), curve, by_run.to_numpy(), list(by_run.index))


def mean_of_runs(by_run: pd.DataFrame, resamples: int, seed: int) -> Estimate:
    """Mean over runs (columns) at each point (rows), with its interval for new runs."""
    runs = tuple(int(run) for run in by_run.columns)
    estimates = []
    for at, values in zip(by_run.index, by_run.to_numpy(), strict=True):
        matrix = ScoreMatrix(values[:, None], runs, ("",), ("",))
        rng = generator(seed, "mean_of_runs", str(at))
        estimates.append(_for_new_runs(mean, matrix, resamples, rng))
    return Estimate(*(np.array(part) for part in zip(*estimates, strict=True)))


def _for_new_runs(
    measure: Measure, matrix: ScoreMatrix, resamples: int, rng: np.random.Generator
) -> Estimate:
    """The measure of scores with its clustered interval, which knows no bounds, within [0, 1]."""
    found = clustered_estimate(measure, [matrix], resamples, rng)
    return Estimate(found.value, *np.clip((found.low, found.high), 0.0, 1.0))


def _curve(axes: Axes, at: list[int], curve: Estimate, each_run: Array, runs_at: list[int]) -> None:
    """A bold line with its band, and a thin line for each run."""
    axes.fill_between(at, curve.low, curve.high, color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(runs_at, each_run, color=BLUE, alpha=0.35, linewidth=0.7)
    axes.plot(at, curve.value, color=BLUE, marker="o", clip_on=False)


def _draw_held_out(axes: Axes, scores: pd.DataFrame, resamples: int, seed: int) -> None:
    iterations, curve, each_run = held_out_curve(scores, resamples, seed)
    _curve(axes, iterations, curve, each_run, iterations[1:])
    draw_levels(axes, scores, float(curve.value[-1]))


def draw_levels(axes: Axes, scores: pd.DataFrame, trained: float) -> None:
    """Dashed lines at the IQM of every policy that PPO never touched; labels beside the axes."""
    labels = [(trained, "trained", BLUE)]
    for policy in policies(scores, GROUP):
        if policy == "trained":
            continue
        height = float(point(iqm, score_matrix(scores, policy, GROUP)))
        colour = colour_of(policy)
        axes.axhline(height, color=colour, **DASHED, zorder=1)
        labels.append((height, label_of(policy), colour))
    label_lines(axes, labels, gap=0.08)


def held_out_curve(
    scores: pd.DataFrame, resamples: int, seed: int
) -> tuple[list[int], Estimate, Array]:
    """Evaluated iterations, IQM with interval for new runs, and each run's own IQM.

    Iteration 0 is the base; the third has one row per iteration of training, one column per run.
    """
    of_trained = scores[(scores["policy"] == "trained") & (scores["group"] == GROUP)]
    iterations = sorted(int(iteration) for iteration in of_trained["iteration"].unique())
    matrices = [score_matrix(scores, "base", GROUP)]
    matrices += [score_matrix(scores, "trained", GROUP, iteration=at) for at in iterations]
    estimates = []
    for at, matrix in zip([0, *iterations], matrices, strict=True):
        rng = generator(seed, "learning_curve", str(at))
        estimates.append(_for_new_runs(iqm, matrix, resamples, rng))
    curve = Estimate(*(np.array(part) for part in zip(*estimates, strict=True)))
    each_run = [iqm_of_runs(matrix.values) for matrix in matrices[1:]]
    return [0, *iterations], curve, np.array(each_run)


def iqm_of_runs(values: Array) -> Array:
    """IQM over the competitions of each run, (R,)."""
    return np.array([iqm(run[None], np.ones((1, 1, len(run))))[0] for run in values])


def competition_changes(competitions: pd.DataFrame) -> Figure:
    """Base -> trained on held-out competitions, largest gain on top.

    Of more than fit a page those in the middle are left out, where a dotted line says so.
    """
    played = competitions[competitions["group"] == GROUP]
    ordered = played.sort_values(["gain", "competition"], ascending=[True, False])
    left_out = len(ordered) - ON_A_PAGE
    if left_out > 0:
        ordered = pd.concat([ordered.head(ON_A_PAGE // 2), ordered.tail(ON_A_PAGE // 2)])
    figure = Figure(figsize=(COLUMN, 0.85 + 0.21 * len(ordered)))
    axes = figure.subplots()
    if left_out > 0:
        axes.axhline(ON_A_PAGE // 2 - 0.5, color=GREY, linewidth=0.8, linestyle=":")
    heights = np.arange(len(ordered))
    colours = [BLUE if gain > 0 else VERMILION if gain < 0 else GREY for gain in ordered["gain"]]
    if "best_fixed_program" in ordered:
        axes.plot(ordered["best_fixed_program"], heights, "|", color=GREY, markersize=6)
    # The gain's interval, laid where the trained score is.
    low, high = (ordered["base"] + ordered[end] for end in ("low", "high"))
    axes.hlines(heights, low, high, colors=colours, linewidth=4, alpha=0.25)
    axes.hlines(heights, ordered["base"], ordered["trained"], colors=colours)
    axes.scatter(ordered["base"], heights, 14, "white", edgecolors=colours, zorder=3)
    axes.scatter(ordered["trained"], heights, 16, colours, zorder=3)
    names = [fill(label_of(name), 26) for name in ordered["competition"]]
    axes.set_yticks(heights, names, linespacing=0.9)
    axes.tick_params("y", length=0, labelsize=6)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.6, len(ordered) - 0.4), xlabel="Position score")
    axes.grid(axis="y", visible=False)
    label_lines(axes, [(len(ordered) - 0.1, "gain", GREY)], gap=0.0)
    for height, gain, colour in zip(heights, ordered["gain"], colours, strict=True):
        label_lines(axes, [(float(height), f"{gain:+.2f}", colour)], gap=0.0)
    _legend_of_changes(figure, "best_fixed_program" in ordered)
    return figure


def _legend_of_changes(figure: Figure, with_fixed: bool) -> None:
    """Grey keys: colour means the direction of the change, not the policy."""
    keys = [("o", "white", "base"), ("o", GREY, "trained"), ("|", GREY, "best fixed program")]
    handles = [
        Line2D([], [], color=GREY, marker=marker, markerfacecolor=fill, linestyle="", label=label)
        for marker, fill, label in keys[: 2 + with_fixed]
    ]
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=3,
        columnspacing=1.0,
        handletextpad=0.2,
    )


def performance_profiles(
    scores: pd.DataFrame, statistics: pd.DataFrame, resamples: int, seed: int
) -> Figure:
    """Performance profiles of the agents above the IQM of every policy."""
    figure = Figure(figsize=(COLUMN, 4.6))
    profiles, aggregates = figure.subplots(2, 1)
    _draw_profiles(profiles, scores, resamples, seed)
    _draw_aggregates(aggregates, statistics)
    return figure


def _draw_profiles(axes: Axes, scores: pd.DataFrame, resamples: int, seed: int) -> None:
    for policy in AGENTS:
        matrix = score_matrix(scores, policy, GROUP)
        rng = generator(seed, "performance_profile", policy)
        profile = estimate(PROFILE, [matrix], "stratified", resamples, rng)  # as rliable draws it
        colour = colour_of(policy)
        axes.plot(THRESHOLDS, profile.value, color=colour, label=policy)
        axes.fill_between(
            THRESHOLDS, profile.low, profile.high, color=colour, alpha=0.2, linewidth=0
        )
    fixed = "best_fixed_program"
    if fixed in policies(scores, GROUP):
        share = point(PROFILE, score_matrix(scores, fixed, GROUP))
        axes.plot(THRESHOLDS, share, color=GREY, **DASHED, label=label_of(fixed))
    axes.set_title("Performance profile", pad=15)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=r"Position score $\tau$")
    axes.set_ylabel(r"Share of scores above $\tau$")
    above: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 3}
    axes.legend(**above, borderaxespad=0.1, columnspacing=0.8, handlelength=1.2, fontsize=6.5)


def _draw_aggregates(axes: Axes, statistics: pd.DataFrame) -> None:
    rows = statistics[
        (statistics["measure"] == "score")
        & (statistics["group"] == GROUP)
        & (statistics["aggregate"] == "iqm")
        & (statistics["interval"] == "clustered")
    ].sort_values(["value", "policy"])
    for height, (_, row) in enumerate(rows.iterrows()):
        colour = colour_of(row["policy"])
        axes.hlines(height, row["low"], row["high"], color=colour, linewidth=4, alpha=0.3)
        axes.plot(row["value"], height, "o", color=colour)
        axes.annotate(
            f"{row['value']:.2f}",
            (row["value"], height),
            (0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=6.5,
            color=colour,
        )
    axes.set_yticks(range(len(rows)), [label_of(name) for name in rows["policy"]])
    axes.tick_params("y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set(xlim=(0, 1.02), ylim=(-0.5, len(rows) - 0.3), xlabel="Position score")
    title_with_note(axes, "Interquartile mean", "95 % interval for new runs")


def score_distributions(scores: pd.DataFrame) -> Figure:
    """How the scores of single episodes are spread: a histogram and the quartiles per policy."""
    of_policy = final_episode_scores(scores)
    ordered = sorted(of_policy, key=lambda name: (of_policy[name].mean(), name))
    figure = Figure(figsize=(COLUMN, 0.6 + 0.42 * len(ordered)))
    axes = figure.subplots()
    for height, policy in enumerate(ordered):
        _draw_distribution(axes, height, of_policy[policy], colour_of(policy))
        label_lines(axes, [(height + 0.3, f"{len(of_policy[policy])}", GREY)], gap=0.0)
    label_lines(axes, [(len(ordered) + 0.05, "episodes", GREY)], gap=0.0)
    axes.set_yticks(range(len(ordered)), [label_of(name) for name in ordered])
    axes.tick_params("y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set(xlim=(0, 1), ylim=(-0.35, len(ordered)), xlabel="Position score of an episode")
    return figure


def final_episode_scores(scores: pd.DataFrame) -> dict[str, pd.Series]:
    """Held-out episode scores of every policy, of its last iteration."""
    held_out = scores[scores["group"] == GROUP]
    last = held_out.groupby("policy")["iteration"].transform("max")
    return dict(iter(held_out[held_out["iteration"] == last].groupby("policy")["score"]))


def _draw_distribution(axes: Axes, height: int, values: pd.Series, colour: str) -> None:
    shares, edges = np.histogram(values, BINS)
    tops = height + 0.8 * shares / shares.max()
    axes.stairs(tops, edges, baseline=height, fill=True, color=colour, alpha=0.35)
    axes.stairs(tops, edges, baseline=height, color=colour, linewidth=0.8)
    low, middle, high = values.quantile([0.25, 0.5, 0.75])
    axes.hlines(height - 0.14, low, high, color=colour, linewidth=2.0)
    axes.plot(middle, height - 0.14, "o", color=colour, clip_on=False)
