"""Captions of the figures, written from the study itself: what is drawn, n, seeds and intervals.

A caption is plain text without markup, so that the report and LaTeX can both take it.
"""

import pandas as pd

from agent.evaluation.figures import label_of
from agent.evaluation.headline import GROUP
from agent.evaluation.inputs import AGENTS, BEST_OF_N
from agent.evaluation.interval_worth import runs_note
from agent.evaluation.process_figures import final_evaluation
from agent.evaluation.score_figures import ON_A_PAGE
from agent.evaluation.scores import policies


def count(number: int, noun: str) -> str:
    """`number` with its noun, in the plural unless it is 1."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def runs_of(seeds: pd.Series) -> str:
    """How many runs there are, and their seeds."""
    known = sorted(int(seed) for seed in seeds.unique())
    noun = "seed" if len(known) == 1 else "seeds"
    return f"{count(len(known), 'training run')} ({noun} {', '.join(map(str, known))})"


def played(scores: pd.DataFrame) -> str:
    """On how many held-out competitions, from how many data sets."""
    held_out = scores[scores["group"] == GROUP]
    competitions, sets = held_out["competition"].nunique(), held_out["data_set"].nunique()
    return f"{count(competitions, 'held-out competition')} from {count(sets, 'data set')}"


def trained_runs(scores: pd.DataFrame) -> str:
    return runs_of(scores.loc[scores["policy"] == "trained", "seed"])


def best_of_n(scores: pd.DataFrame) -> str:
    """A sentence on the base's best of n, with the n that was used; "" without it."""
    attempts = scores.loc[scores["policy"] == BEST_OF_N, "executions"]
    if attempts.empty:
        return ""
    return f" Base best of n: expected score of the best of {attempts.mean():.3g} first attempts."


def interval(resamples: int, runs: int) -> str:
    """Which interval it is, how it was had, and what it is worth."""
    if runs == 1:
        return "one run: no interval"
    doubt = runs_note(runs, "clustered")
    how = f"bootstrap of runs, up to {count(resamples, 'resample')}, and Student's t"
    return f"95 % interval for new training runs ({how}{'; ' if doubt else ''}{doubt})"


def learning_curves(scores: pd.DataFrame, metrics: pd.DataFrame, resamples: int) -> str:
    updates = int(metrics["iteration"].max())
    episodes = ", ".join(
        f"{count(number, 'episode')} per competition and run after {count(at, 'update')}"
        for at, number in _episodes_along(scores).items()
    )
    band = interval(resamples, metrics["seed"].nunique())
    return (
        f"Position score over {count(updates, 'update')} of {runs_of(metrics['seed'])}. Top: "
        f"training competitions, mean over runs. Bottom: interquartile mean on {played(scores)}; "
        f"{episodes}. Thin lines: single runs. Bands: {band}. Dashed: policies without training."
    ) + best_of_n(scores)


def _episodes_along(scores: pd.DataFrame) -> dict[int, int]:
    """Episodes per run and competition that each evaluated iteration rests on; 0 is the base."""
    held_out = scores[(scores["group"] == GROUP) & scores["policy"].isin(AGENTS)]
    cells = held_out.groupby(["iteration", "seed", "competition"]).size()
    smallest = cells.groupby("iteration").min()
    return dict(zip(smallest.index.astype(int), smallest.astype(int), strict=True))


def competition_changes(competitions: pd.DataFrame, resamples: int) -> str:
    held_out = competitions[competitions["group"] == GROUP]
    runs = {name: int(held_out[f"n_runs_{name}"].iloc[0]) for name in AGENTS}
    better = int((held_out["gain"] > 0).sum())
    return (
        f"Mean position score of base and trained policy on each of {len(held_out)} held-out "
        f"competitions; {runs['base']} base and {count(runs['trained'], 'trained run')}. Bars: "
        f"{interval(resamples, runs['trained'])}, of the gain, not corrected for the "
        f"number of competitions. {better} of {len(held_out)} improve."
    ) + _left_out(len(held_out))


def _left_out(number: int) -> str:
    if number <= ON_A_PAGE:
        return ""
    half = ON_A_PAGE // 2
    return (
        f" Shown are the {half} with the largest gain and, below the dotted line, the {half} with "
        "the smallest; the table has all."
    )


def performance_profiles(scores: pd.DataFrame, resamples: int) -> str:
    runs = scores.loc[scores["policy"] == "trained", "seed"].nunique()
    doubt = runs_note(runs, "stratified")
    return (
        f"Top: share of runs and competitions whose mean position score exceeds a threshold. "
        f"Bottom: interquartile mean of every policy. {trained_runs(scores)}, {played(scores)}. "
        f"Bars: {interval(resamples, runs)}. Bands: percentiles of runs drawn again within each "
        f"competition, as is usual for profiles{f' ({doubt})' if doubt else ''}; policies of one "
        "run have none."
    ) + best_of_n(scores)


def score_distributions(scores: pd.DataFrame) -> str:
    named = ", ".join(label_of(name) for name in policies(scores, GROUP))
    return (
        f"Position scores of single episodes on {played(scores)}, at a policy's last iteration: "
        f"histogram, median (dot) and quartiles (bar); the number of episodes stands at the right. "
        f"{trained_runs(scores)}. Policies: {named}. The spread is over episodes, not an interval "
        "of a mean."
    ) + best_of_n(scores)


def action_mix(turns: pd.DataFrame) -> str:
    training = turns[turns["source"] == "training"]
    evaluated = final_evaluation(turns)
    return (
        f"Actions (top) and outcomes (bottom) as shares of turns. Left: {len(training):,} turns of "
        f"training, {runs_of(training['seed'])}, by the updates that the policy had seen. Right: "
        f"{len(evaluated):,} turns on {evaluated['competition'].nunique()} held-out competitions. "
        "Shares of all runs together, without intervals."
    )


def training_metrics(metrics: pd.DataFrame) -> str:
    updates = int(metrics["iteration"].max())
    return (
        f"Health of training over {count(updates, 'update')}: single runs (thin) and their mean "
        f"(bold), {runs_of(metrics['seed'])}; no intervals."
    )


def time_split(table: pd.DataFrame) -> str:
    minutes = table["seconds"].sum() / 60
    rules = table["rule"].replace("", None).nunique()
    return (
        f"Core time up to the scores, {minutes:,.1f} core-minutes on all cores, by rule "
        f"({rules} rules) and by what its jobs did; measured once, every job counted with the "
        "cores it held."
    )


def cost_against_score(scores: pd.DataFrame, metrics: pd.DataFrame, resamples: int) -> str:
    runs = metrics["seed"].nunique()
    return (
        f"Interquartile mean on {played(scores)} against what training had used until then, mean "
        f"over {runs_of(metrics['seed'])}; thin: single runs. Error bars: "
        f"{interval(resamples, runs)}. Making the base model and evaluating are not "
        "counted. Dashed: policies without training."
    ) + best_of_n(scores)
