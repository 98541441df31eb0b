"""The yardsticks of MLE-Dojo and MLE-bench: HumanRank, performance profiles, medals.

MLE-Dojo (arXiv 2505.07782, section 4.6 and appendix E.1) reports HumanRank, the area under the
performance profile (AUP) and Elo (`agent.evaluation.elo`); MLE-bench (arXiv 2410.07095, table 1)
Kaggle's medals. MLE-Dojo's code holds only the position score; the others follow the papers.

Shapes: P policies, C competitions, N entries of a leaderboard, B resamples. `weights` (B, C) says
how often each competition counts; a missing score is NaN and stays visible.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from agent.evaluation.files import read_csv
from agent.evaluation.statistics import Array

Medal = Literal["gold", "silver", "bronze"]
MEDALS: tuple[Medal, ...] = ("gold", "silver", "bronze")
MEASURES = ("aup", "human_rank", "elo")
OVERALL = "Overall"
PUBLISHED_COLUMNS = ("model", "category", "measure", "value", "source")
PUBLISHED_CATEGORIES = ("MLE-Lite", "Tabular", "NLP", "CV", OVERALL)

LARGEST_RATIO = 100.0  # appendix E.1 bounds performance ratios by it
TAU_MAX = float(np.log10(LARGEST_RATIO))


def human_rank(
    score: float, boards: Mapping[str, Array], higher_is_better: bool
) -> dict[str, float]:
    """HumanRank of a raw metric value: per board, and their mean as "average", each in [0, 1].

    On one board it is 1 - b / N, where b entries are strictly better: MLE-Dojo's code,
    (N - position + 1) / N with position = b + 1. The paper prints s = 1 - p / N for position p;
    read with p = b + 1 that is 1 / N less, and never 1. Its table 5 has a mean of 1.000000, so that
    the published numbers follow the code. The whole test set is ranked on either board.
    """
    if not boards or "average" in boards:
        raise ValueError("HumanRank: give boards by name, such as private and public")
    ranks = {name: _rank(score, board, higher_is_better) for name, board in boards.items()}
    return ranks | {"average": float(np.mean(list(ranks.values())))}


def _rank(score: float, board: Array, higher_is_better: bool) -> float:
    if len(board) == 0 or not np.isfinite(board).all() or not np.isfinite(score):
        raise ValueError(
            f"metric value {score} on a board of {len(board)} entries cannot be ranked: "
            "values must be finite; reject the submission or repair the board"
        )
    better = board > score if higher_is_better else board < score
    return float(1.0 - better.sum() / len(board))


def mean_percent(values: Array, weights: Array) -> Array:
    """100 times the mean over competitions of `values` (P, C) in [0, 1], as (B, P).

    Of position scores it is HumanRank in %, of shares of runs with a medal the medal rate.

    NaN for a policy that misses a competition: the mean of the others would be of something else;
    and in a resample that drew none of these.
    """
    with np.errstate(invalid="ignore"):
        return 100.0 * (weights @ values.T) / weights.sum(1, keepdims=True)


def performance_ratios(
    scores: Array, higher_is_better: Sequence[bool], penalty: float | None = None
) -> Array:
    """How many times worse than the best policy each is, (P, C) in [1, 100] or infinite.

    `scores` (P, C) are raw metrics or position scores. The ratio r is score / best where lower is
    better (eq. 1), best / score where higher is better (eq. 4), at most 100 (appendix E.1); best is
    that of the policies given. The best have 1 even if their score is 0. Where there is no positive
    finite quotient (a score of 0 or below where higher is better, a best of 0 where lower is
    better), r is the bound. A best below 0 has no ratios and raises.

    A missing score was never solved: r is infinite (Dolan and Moré 2002) and no tau counts it. With
    `penalty` (epsilon = 1 in eq. 5) it is 1 + penalty times the worst r on the competition instead,
    within the bound, and the bound where nobody has a score.
    """
    higher, missing = np.asarray(higher_is_better), np.isnan(scores)
    best = np.where(
        higher,
        np.where(missing, -np.inf, scores).max(0),
        np.where(missing, np.inf, scores).min(0),
    )
    unsound = (~missing & (np.isinf(scores) | (best < 0))).any(0)
    if unsound.any():
        found = scores[:, int(np.argmax(unsound))].tolist()
        raise ValueError(
            f"AUP: scores {found} of one competition have no ratios: all must be finite and the "
            "best at least 0; use position scores"
        )
    upper, lower = np.where(higher, best, scores), np.where(higher, scores, best)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(lower > 0, np.minimum(upper / lower, LARGEST_RATIO), LARGEST_RATIO)
    ratios[scores == best] = 1.0
    if penalty is None:
        return np.where(missing, np.inf, ratios)
    worst = np.where(missing, 1.0, ratios).max(0)
    never = np.minimum((1 + penalty) * worst, LARGEST_RATIO)
    return np.where(missing, np.where(missing.all(0), LARGEST_RATIO, never), ratios)


def area_under_profile(ratios: Array, weights: Array, tau_max: float = TAU_MAX) -> Array:
    """AUP (B, P): the integral over tau from 0 to `tau_max` of a policy's performance profile.

    The profile is the share of competitions with log10(r) <= tau (eq. 2), a step function, so that
    its area (eq. 3) is exactly the mean of max(0, tau_max - log10(r)): `tau_max` if always best, 0
    if never solved. Eq. 3 prints the lower limit 1, where ratios begin; their logarithms begin at
    0, as do the axes of figure 8, and published areas above 1 are possible only from 0.

    The paper's `tau_max` is the smallest at which all profiles are 1 (`smallest_tau_max`). It
    changes with the policies and competitions in the table and leaves out who never solved; ours is
    the bound's logarithm, 2. Where nothing is missing they differ by one constant for all policies.
    """
    areas = np.clip(tau_max - np.log10(ratios), 0.0, None)
    return (weights @ areas.T) / weights.sum(1, keepdims=True)


def smallest_tau_max(ratios: Array) -> float:
    """The smallest tau at which every profile has reached all that its policy ever solved."""
    return float(np.log10(ratios[np.isfinite(ratios)].max()))


def medal_positions(teams: int) -> dict[Medal, int]:
    """The last position that wins each medal among `teams` (MLE-bench, table 1; Kaggle's rules).

    | teams     | bronze  | silver  | gold               |
    | --------- | ------- | ------- | ------------------ |
    | 1-99      | top 40% | top 20% | top 10%            |
    | 100-249   | top 40% | top 20% | top 10             |
    | 250-999   | top 100 | top 50  | top 10 + 0.2%      |
    | from 1000 | top 10% | top 5%  | top 10 + 0.2%      |

    Shares are rounded down, but the first always wins, as in MLE-bench's code.
    """
    if teams < 1:
        raise ValueError(f"medals: the board has {teams} teams; it needs at least one")
    if teams < 250:
        gold = max(1, teams // 10) if teams < 100 else 10
        return {"gold": gold, "silver": max(1, teams // 5), "bronze": max(1, 2 * teams // 5)}
    few = teams < 1000
    return {
        "gold": 10 + teams // 500,
        "silver": 50 if few else teams // 20,
        "bronze": 100 if few else teams // 10,
    }


def medal(score: float, board: Array, higher_is_better: bool) -> Medal | None:
    """The best medal whose threshold the raw metric value reaches on the private leaderboard (N,).

    A threshold is the score at a medal's last position, and equalling it is enough (MLE-bench's
    `rank_score`). NaN, no valid submission, wins nothing.
    """
    if np.isinf(score) or not np.isfinite(board).all():
        raise ValueError(f"medal: score {score} or the board is not finite; reject or repair it")
    ordered = np.sort(board)[::-1] if higher_is_better else np.sort(board)
    for name, position in medal_positions(len(board)).items():
        threshold = ordered[position - 1]
        if score >= threshold if higher_is_better else score <= threshold:
            return name
    return None


def read_published(path: Path) -> pd.DataFrame:
    """Published figures, one per (model, category, measure); `source` says "quoted" and whence.

    AUP, HumanRank in % and Elo. AUP and Elo compare the models of one table with each other and
    cannot be set beside values from another table.
    """
    table = read_csv(path, PUBLISHED_COLUMNS)
    allowed = {"category": PUBLISHED_CATEGORIES, "measure": MEASURES}
    for column, known in allowed.items():
        unknown = table.loc[~table[column].isin(known), column]
        if len(unknown):
            raise ValueError(
                f"{path}: {column} must be one of {', '.join(known)}; got {unknown.iloc[0]}"
            )
    repeated = table.duplicated(["model", "category", "measure"])
    unsound = repeated | table["model"].isna() | table["value"].isna()
    unsound |= ~table["source"].astype(str).str.startswith("quoted: ")
    if unsound.any():
        raise ValueError(
            f"{path}: row {table[unsound].iloc[0].to_dict()} must be the only one of its model, "
            'category and measure, with a value and a source that begins with "quoted: "'
        )
    return table
