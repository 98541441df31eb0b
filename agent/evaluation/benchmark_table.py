"""The table of a study's policies and MLE-Dojo's published models, which must not be compared.

AUP and Elo are relative to the policies of one table, so that measured and quoted rows are on
different scales; `NOTE` says so in every measured row and below the printed table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from agent.evaluation.benchmark_measures import (
    MEASURES,
    OVERALL,
    PUBLISHED_CATEGORIES,
    area_under_profile,
    mean_percent,
    medal,
    performance_ratios,
)
from agent.evaluation.elo import draw_competitions, elo_ratings, with_interval
from agent.evaluation.headline import GROUP
from agent.evaluation.inputs import AGENTS
from agent.evaluation.interval_worth import data_sets_note
from agent.evaluation.scores import policies
from agent.evaluation.statistics import Array, generator
from agent.evaluation.tables import NO_VALUE, booktabs, escape, policy_label

NOTE = (
    "AUP (of position scores) and Elo are among the measured policies only and not on the scale of "
    "the quoted ones; HumanRank is the mean over runs, quoted the best of two, and of humans only "
    "where the leaderboard is Kaggle's; medals, by MLE-bench's thresholds, need such a one"
)
MEDAL_RATE = "medal_rate"
SHOWN = (*MEASURES, MEDAL_RATE)
MEASURE_LABELS = {
    "aup": "AUP",
    "human_rank": r"HumanRank (\%)",
    "elo": "Elo",
    MEDAL_RATE: r"Medals (\%)",
}
DECIMALS = {"aup": 3, "human_rank": 2, "elo": 0, MEDAL_RATE: 1}  # as published

Boards = Mapping[str, tuple[Array, bool]]  # private leaderboard, and whether higher is better


def read_catalogue(path: Path) -> pd.DataFrame:
    """The category of every competition, which is its task type in a study's table."""
    table = pd.read_csv(path, sep="\t", comment="#")
    catalogue = table[["competition", "task_type"]].rename(columns={"task_type": "category"})
    repeated = catalogue["competition"].duplicated()
    if repeated.any():
        name = catalogue.loc[repeated, "competition"].iloc[0]
        raise ValueError(f"{path}: competition {name} is listed twice; give it one category")
    unnamed = catalogue["category"].isna() | (catalogue["category"] == OVERALL)
    if unnamed.any():
        row = catalogue[unnamed].iloc[0].to_dict()
        raise ValueError(f"{path}: category must be a name other than {OVERALL}; got {row}")
    return catalogue


@dataclass(frozen=True, slots=True)
class Means:
    """Mean score of every policy on every competition; NaN where a run of it is missing.

    In [0, 1], from the final half of the answers, over all episodes and runs of the policy's last
    iteration. (MLE-Dojo publishes the best of two runs.)
    """

    values: Array  # (P, C)
    policies: tuple[str, ...]
    competitions: tuple[str, ...]
    data_sets: tuple[str, ...]  # of each competition
    runs: int  # the most of a policy


def with_medals(scores: pd.DataFrame, boards: Boards) -> pd.DataFrame:
    """`scores` with 1.0 where an episode of an agent won a medal, NaN where none is given.

    Medals are for competitions with a leaderboard of Kaggle's, those in `boards`.
    """
    agents = scores["policy"].isin(AGENTS) & scores["competition"].isin(boards)
    played = scores.loc[agents, ["competition", "raw_score"]]
    won = [
        float(medal(value, *boards[name]) is not None)
        for name, value in played.itertuples(index=False, name=None)
    ]
    return scores.assign(medal=pd.Series(won, index=scores.index[agents], dtype=float))


def study_means(scores: pd.DataFrame, column: str = "score", group: str = GROUP) -> Means:
    names = policies(scores, group)
    facts = scores[scores["group"] == group].groupby("competition")["data_set"].first()
    rows = []
    for name in names:
        own = scores[scores["policy"] == name]
        last = own[(own["iteration"] == own["iteration"].max()) & (own["group"] == group)]
        cells = last.groupby(["competition", "seed"])[column].mean().unstack("seed")
        cells = cells.reindex(index=facts.index, columns=own["seed"].unique())
        rows.append(cells.mean(axis=1, skipna=False).round(12).to_numpy(float))
    runs = scores.groupby("policy")["seed"].nunique()[names].max()
    return Means(np.array(rows), tuple(names), tuple(facts.index), tuple(facts), int(runs))


def measure_category(
    positions: Means,
    medals: Means,
    members: Sequence[str],
    resamples: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """AUP, HumanRank, Elo and medals of every policy on `members`, with intervals and a note.

    A position score of 0, behind every entry or nothing valid, is not solved for AUP. A policy
    without any score here has no values.
    """
    inside = np.isin(positions.competitions, members)
    present = ~np.isnan(positions.values[:, inside]).all(1)
    values = positions.values[np.ix_(present, inside)]
    names = tuple(np.array(positions.policies)[present])
    data_sets = list(np.array(positions.data_sets)[inside])
    weights = draw_competitions(data_sets, resamples, rng)
    solved = np.where(values > 0, values, np.nan)
    ratios = performance_ratios(solved, [True] * values.shape[1])
    estimates = {
        "aup": with_interval(lambda drawn: area_under_profile(ratios, drawn), weights),
        "human_rank": with_interval(lambda drawn: mean_percent(values, drawn), weights),
        "elo": with_interval(lambda drawn: elo_ratings(values, drawn, names), weights),
    }
    won = medals.values[np.ix_(present, inside)]
    if not np.isnan(won).all():
        given = ~np.isnan(won).all(0)
        estimates[MEDAL_RATE] = with_interval(
            lambda drawn: mean_percent(won[:, given], drawn[:, given]), weights
        )
    units = len(set(data_sets))
    table = pd.DataFrame(index=pd.Index(names, name="policy"))
    for measure, (value, low, high) in estimates.items():
        table[measure] = value
        table[f"{measure}_low"], table[f"{measure}_high"] = (
            (low, high) if units > 1 else (np.nan, np.nan)
        )
    missing = np.isnan(values).sum(1)
    played = f"{values.shape[1]} of {len(members)} competitions"
    notes = [f"{played}, {lost} missing" if lost else played for lost in missing]
    doubt = data_sets_note(units, positions.runs)
    return table.assign(note=[f"{note}; {doubt}" if doubt else note for note in notes])


def benchmark_table(
    scores: pd.DataFrame,
    catalogue: pd.DataFrame,
    published: pd.DataFrame,
    boards: Boards,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """One row per measured policy and per published model; columns `<category>_<measure>`.

    Columns ending in _low and _high bound 95 % intervals. `note` says what cannot be compared.
    """
    positions = study_means(scores)
    medals = study_means(with_medals(scores, boards), "medal")
    category = catalogue.set_index("competition")["category"]
    absent = sorted(set(positions.competitions) - set(category.index))
    if absent:
        raise ValueError(f"catalogue: no category of {absent[0]}; add a row for it")
    measured, notes = [], pd.Series(NOTE, index=pd.Index(positions.policies, name="policy"))
    for name in (*category.unique(), OVERALL):
        members = category.index if name == OVERALL else category.index[category == name]
        if set(members) & set(positions.competitions):
            rng = generator(seed, "benchmark", name)
            block = measure_category(positions, medals, list(members), resamples, rng)
            heard = "; " + name + ": " + block.pop("note").reindex(notes.index)
            notes += heard.fillna(f"; {name}: missing")
            measured.append(block.add_prefix(f"{name}_"))
    ours = pd.concat(measured, axis=1).reindex(notes.index).assign(source="measured", note=notes)
    wide = published.assign(column=published["category"] + "_" + published["measure"])
    theirs = wide.pivot(index="model", columns="column", values="value")
    said = wide.drop_duplicates(["model", "source"]).groupby("model")["source"].agg("; ".join)
    theirs = theirs.rename_axis("policy").assign(source="quoted", note=said)
    table = pd.concat([ours, theirs.loc[published["model"].unique()]]).reset_index()
    return table[["policy", "source", *_ordered(list(table.columns)), "note"]]


def _ordered(columns: Sequence[str]) -> list[str]:
    """Columns of measures: the published categories first, all competitions last."""
    categories = {name.removesuffix("_elo") for name in columns if name.endswith("_elo")}
    others = sorted(categories - set(PUBLISHED_CATEGORIES))
    known = [*PUBLISHED_CATEGORIES[:-1], *others, OVERALL]
    wanted = [
        f"{category}_{measure}{end}"
        for category in known
        for measure in SHOWN
        for end in ("", "_low", "_high")
    ]
    return [name for name in wanted if name in set(columns)]


def benchmark_latex(table: pd.DataFrame) -> str:
    """A booktabs tabular: measured policies, quoted models, and `NOTE` below them.

    The header has two lines, the categories over their measures.
    """
    shown = [name for name in table.columns if name.endswith(tuple(f"_{m}" for m in SHOWN))]
    split = [next((name[: -len(m) - 1], m) for m in SHOWN if name.endswith(m)) for name in shown]
    above = ["", ""]
    for category in dict.fromkeys(category for category, _ in split):
        width = sum(name == category for name, _ in split)
        above.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(category)}}}")
    rows = [_latex_row(row, shown, split) for _, row in table.iterrows()]
    quoted = int((table["source"] == "measured").sum())
    if quoted < len(rows):
        rows[quoted][0] = "\\midrule\n" + rows[quoted][0]
    said = rf"\multicolumn{{{len(shown) + 2}}}{{p{{\linewidth}}}}{{\footnotesize {escape(NOTE)}.}}"
    rows.append(["\\midrule\n" + said])
    header = ["Policy", "Source", *(MEASURE_LABELS[measure] for _, measure in split)]
    tabular = booktabs(header, rows, "ll" + "l" * len(shown))
    return tabular.replace("\\toprule\n", "\\toprule\n" + " & ".join(above) + " \\\\\n", 1)


def _latex_row(row: pd.Series, shown: Sequence[str], split: Sequence[tuple[str, str]]) -> list[str]:
    measured = row["source"] == "measured"
    cells = [policy_label(row["policy"]) if measured else escape(row["policy"]), row["source"]]
    for name, (_, measure) in zip(shown, split, strict=True):
        ends = (row.get(f"{name}_low", np.nan), row.get(f"{name}_high", np.nan))
        value, low, high = (
            NO_VALUE if pd.isna(number) else f"{number:.{DECIMALS[measure]}f}"
            for number in (row[name], *ends)
        )
        cells.append(value if low == NO_VALUE else f"{value} [{low}, {high}]")
    return cells
