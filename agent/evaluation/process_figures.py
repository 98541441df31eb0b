"""Figures of the process: what the policy does, how healthy PPO is, where the time goes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from agent.evaluation.figures import (
    BLUE,
    COLUMN,
    GREEN,
    GREY,
    LIGHT_GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    label_of,
    title_with_note,
)
from agent.evaluation.headline import GROUP
from agent.evaluation.inputs import ACTIONS, AGENTS, OUTCOMES
from agent.evaluation.time_split import CATEGORIES, OUTSIDE_JOBS

# What a healthy update shows, and how each panel is named.
TRAINING_METRICS = {
    "mean_return": "Mean return",
    "valid_rate": "Valid programs",
    "mean_best_position": "Best position (feedback)",
    "approx_kl": "KL of one update",
    "clip_fraction": "Clip fraction",
    "reference_kl": "KL to the reference",
    "entropy": "Entropy per token",
    "explained_variance": "Explained variance",
    "value_loss": "Loss of the critic",
    "gradient_norm": "Gradient norm",
}
ACTION_COLOURS = dict(zip(ACTIONS, (SKY, YELLOW, BLUE, GREEN, PURPLE, VERMILION), strict=True))
OUTCOME_COLOURS = dict(
    zip(OUTCOMES, (BLUE, SKY, LIGHT_GREY, PURPLE, VERMILION, YELLOW, ORANGE), strict=True)
)
OUTSIDE_COLOURS = {"unaccounted": "#222222", "workflow": "#999999", "idle": "#DDDDDD"}
CATEGORY_PALETTE = (  # in the order of CATEGORIES, then for others
    ORANGE,
    YELLOW,
    BLUE,
    GREEN,
    SKY,
    PURPLE,
    VERMILION,
    GREY,
    "#8C564B",
    "#882255",
    "#117733",
    "#AA9955",
)
RULES_SHOWN = 12


def action_mix(turns: pd.DataFrame) -> Figure:
    """Shares of actions and outcomes while training, and of base and trained when evaluated."""
    figure = Figure(figsize=(COLUMN, 4.0))
    panels = figure.subplots(2, 2, width_ratios=[5, 4], sharey=True)
    training = turns[turns["source"] == "training"]
    evaluated = final_evaluation(turns)
    for row, (column, colours, title) in enumerate(
        [("action", ACTION_COLOURS, "Actions"), ("outcome", OUTCOME_COLOURS, "Outcomes")]
    ):
        by_iteration = shares(training, "iteration", column, tuple(colours))
        _stack(panels[row, 0], by_iteration, colours, list(by_iteration.index))
        by_policy = shares(evaluated, "policy", column, tuple(colours)).loc[list(AGENTS)]
        _stack(panels[row, 1], by_policy, colours, list(by_policy.index))
        title_with_note(panels[row, 0], title, "while training")
        title_with_note(panels[row, 1], "", "held out")
        panels[row, 0].set_ylabel("Share of turns")
        handles, labels = panels[row, 1].get_legend_handles_labels()
        panels[row, 1].legend(
            handles[::-1],
            labels[::-1],
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            fontsize=6.5,
            handlelength=0.8,
            handletextpad=0.4,
        )
    panels[1, 0].set_xlabel("Updates before")
    return figure


def final_evaluation(turns: pd.DataFrame) -> pd.DataFrame:
    """Turns of the base and of the last trained iteration on held-out competitions."""
    evaluated = turns[(turns["source"] == "evaluation") & (turns["group"] == GROUP)]
    agents = evaluated[evaluated["policy"].isin(AGENTS)]
    last = agents.groupby("policy")["iteration"].transform("max")
    return agents[agents["iteration"] == last]


def shares(turns: pd.DataFrame, by: str, column: str, categories: tuple[str, ...]) -> pd.DataFrame:
    """Share of each category in `column`, one row per value of `by`; rows sum to 1."""
    if turns.empty:
        raise ValueError(f"turns: no turn to show {column} by {by}; collect the turns again")
    counts = pd.crosstab(turns[by], turns[column]).reindex(columns=list(categories), fill_value=0)
    return counts.div(counts.sum(axis=1), axis=0)


def _stack(
    axes: Axes, table: pd.DataFrame, colours: dict[str, str], names: Sequence[object]
) -> None:
    positions = np.arange(len(table))
    bottom = np.zeros(len(table))
    for category in table.columns:
        axes.bar(
            positions,
            table[category],
            0.82,
            bottom,
            color=colours[category],
            label=label_of(category),
            edgecolor="white",
            linewidth=0.4,
        )
        bottom += table[category].to_numpy()
    step = 1 + len(names) // 20
    axes.set_xticks(positions[::step], [str(name) for name in names[::step]])
    axes.tick_params("x", length=0, labelsize=6.5)
    axes.grid(axis="x", visible=False)
    axes.set(ylim=(0, 1), xlim=(-0.6, len(table) - 0.4))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def training_metrics(metrics: pd.DataFrame) -> Figure:
    """Health of PPO: one panel per metric, thin lines for runs, a bold line for their mean.

    A metric that no update measured, like a critic's where there is none, has an empty panel.
    """
    figure = Figure(figsize=(COLUMN, 5.6))
    panels = figure.subplots(5, 2, sharex=True)
    for axes, (name, title) in zip(panels.flat, TRAINING_METRICS.items(), strict=True):
        by_run = metrics.pivot(index="iteration", columns="seed", values=name)
        axes.plot(by_run.index, by_run, color=BLUE, alpha=0.35, linewidth=0.7)
        axes.plot(by_run.index, by_run.mean(axis=1), color=BLUE)
        axes.set_title(title)
        if by_run.isna().all(axis=None):
            axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    for axes in panels[-1]:
        axes.set_xlabel("Update")
    return figure


def time_split(table: pd.DataFrame) -> Figure:
    """Core time of every rule by category, the workflow's own and idle time below."""
    totals = rule_totals(table)
    figure = Figure(figsize=(COLUMN, 1.1 + 0.2 * len(totals)))
    axes = figure.subplots()
    divisor, unit = _unit(totals.to_numpy().sum())
    left = np.zeros(len(totals))
    colours = category_colours(set(totals.columns))
    for category in totals.columns:
        axes.barh(
            range(len(totals)),
            totals[category] / divisor,
            0.75,
            left,
            color=colours[category],
            label=category,
        )
        left += totals[category].to_numpy() / divisor
    share = left / left.sum()
    for position, (length, part) in enumerate(zip(left, share, strict=True)):
        axes.annotate(
            f"{length:.1f} ({part:.1%})",
            (length, position),
            (3, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
        )
    axes.set_yticks(range(len(totals)), [label_of(rule) for rule in totals.index])
    axes.tick_params("y", length=0)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel=f"Core-{unit} (share of all)", xlim=(0, 1.5 * left.max()))
    figure.legend(loc="outside upper center", ncols=4, columnspacing=1.0, handlelength=0.8)
    return figure


def rule_totals(table: pd.DataFrame) -> pd.DataFrame:
    """Seconds by rule (rows, longest first) and category; small rules in one row."""
    inside = table[~table["category"].isin(OUTSIDE_JOBS)]
    by_rule = inside.pivot_table(
        index="rule", columns="category", values="seconds", aggfunc="sum", fill_value=0.0
    )
    longest = by_rule.sum(axis=1).sort_values(ascending=False, kind="stable").index
    shown = by_rule.loc[longest[:RULES_SHOWN]]
    if rest := len(longest) - len(shown):
        shown.loc[f"{rest} other rules"] = by_rule.loc[longest[RULES_SHOWN:]].sum()
    for name in OUTSIDE_JOBS:
        seconds = table.loc[table["category"] == name, "seconds"].sum()
        shown.loc[f"({name})", name] = seconds
    return shown.reindex(columns=list(category_colours(set(table["category"])))).fillna(0.0)


def category_colours(present: set[str]) -> dict[str, str]:
    """A colour for each category, in the order of the stack; known categories keep theirs."""
    others = sorted(present - set(CATEGORIES) - set(OUTSIDE_COLOURS))
    colours = dict(zip((*CATEGORIES, *others), CATEGORY_PALETTE, strict=False))
    if left_out := present - set(colours) - set(OUTSIDE_COLOURS):
        raise ValueError(
            f"time split: more than {len(CATEGORY_PALETTE)} categories, none left for "
            f"{min(left_out)}; name fewer"
        )
    return {name: colour for name, colour in (colours | OUTSIDE_COLOURS).items() if name in present}


def _unit(seconds: float) -> tuple[float, str]:
    if seconds < 1200:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 36000 else (3600.0, "hours")
