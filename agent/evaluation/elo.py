"""Elo ratings of policies, from which of two did better on a competition.

MLE-Dojo (arXiv 2505.07782, appendix E.1) takes Chatbot Arena's procedure (arXiv 2403.04132): every
competition is one battle of every two models that have a score on it, and the ratings maximise the
likelihood of the Bradley-Terry model (1952), P(i beats j) = 1 / (1 + 10^((R_j - R_i) / 400)). That
is R = 400 / log(10) times the coefficients of a logistic regression, moved so that their mean is
1000 (the mean of every published column is 1000 too) or that a named policy has 1000.

A tie counts as half a win for each. The alternative, Davidson's model (1970), has one more
parameter for how often ties happen; where all pairs met equally often it orders the policies alike.

Who won everything has no finite rating. So every two policies that met are credited with
`prior` further wins for each: `PRIOR`, half a win, is one imagined tie per pair. For two policies
that gives log((w + 1/2) / (l + 1/2)), the log odds of Haldane and Anscombe (1956), whose bias is of
second order; it draws ratings together, the more the fewer the competitions. `prior=0` is the plain
maximum of the likelihood, which the paper uses, and raises where there is none.

Unlike the paper, the rating is that of the sample, not the median of the resamples; and resamples
are of competitions, not of battles, since the battles on one competition share its scores.

Shapes: P policies, C competitions, B resamples.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from agent.evaluation.statistics import Array, Estimate

POINTS_PER_LOGIT = 400 / np.log(10)
CENTRE = 1000.0
PRIOR = 0.5
ITERATIONS = 200
LONGEST_STEP = 1.0  # logits; keeps Newton's method from overshooting


def elo_ratings(
    scores: Array,
    weights: Array,
    policies: Sequence[str],
    prior: float = PRIOR,
    anchor: str | None = None,
) -> Array:
    """Ratings (B, P) in Elo points, with mean 1000 or with 1000 for the policy `anchor`.

    `scores` (P, C), higher is better, is NaN where a policy was not evaluated: it then met nobody
    there. `weights` (B, C) says how often each competition counts.
    """
    if anchor is not None and anchor not in policies:
        raise ValueError(f"Elo: anchor {anchor} is no policy; name one of {', '.join(policies)}")
    outcomes = battle_outcomes(scores)
    games = outcomes + outcomes.swapaxes(1, 2)
    met = games.sum(0) > 0
    _reject_disconnected(met, policies)
    wins = np.tensordot(weights, outcomes, axes=1) + prior * met
    if prior == 0:
        _reject_infinite(wins, policies)
    ratings = POINTS_PER_LOGIT * bradley_terry(wins)
    return ratings + CENTRE - (0.0 if anchor is None else ratings[:, [policies.index(anchor)]])


def battle_outcomes(scores: Array) -> Array:
    """(C, P, P): 1 where the first policy beat the second, 1/2 at a tie, else 0."""
    first, second = scores.T[:, :, None], scores.T[:, None, :]
    outcomes = (first > second) + 0.5 * (first == second)
    return outcomes * ~np.eye(len(scores), dtype=bool)


def bradley_terry(wins: Array) -> Array:
    """Log strengths (B, P) with mean 0 that maximise the likelihood of `wins` (B, P, P).

    Newton's method for all resamples at once; the likelihood is concave, so that a slope of zero
    is the maximum.
    """
    games = wins + wins.swapaxes(1, 2)
    size = wins.shape[1]
    strength = np.zeros(wins.shape[:2])
    enough = 1e-10 * games.sum((1, 2)).max()
    for _ in range(ITERATIONS):
        chance = expit(strength[:, :, None] - strength[:, None, :])
        slope = wins.sum(2) - (games * chance).sum(2)
        if np.abs(slope).max() <= enough:
            return strength
        spread = games * chance * (1 - chance)
        # Strengths are defined up to a constant: 1 / P everywhere makes the solution's mean 0.
        information = np.eye(size) * spread.sum(2)[:, :, None] - spread + 1 / size
        step = np.linalg.solve(information, slope[:, :, None])[:, :, 0]
        longest = np.abs(step).max(1, keepdims=True)
        strength += step / np.maximum(longest / LONGEST_STEP, 1.0)
    raise ValueError(f"Elo: no maximum after {ITERATIONS} steps; fit with a larger prior")


def draw_competitions(data_sets: Sequence[str], resamples: int, rng: np.random.Generator) -> Array:
    """Weights (B, C) of bootstrap resamples of competitions; those of one data set stay together.

    Where every competition has its own data set, as in MLE-Dojo, competitions are drawn one by one.
    """
    names, data_set = np.unique(np.array(data_sets), return_inverse=True)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
    return counts[:, data_set].astype(np.float64)


def with_interval(measure: Callable[[Array], Array], weights: Array) -> Estimate:
    """`measure` (of weights) of the sample, (P,), with 95 % percentile bootstrap intervals."""
    low, high = np.quantile(measure(weights), [0.025, 0.975], axis=0)
    return Estimate(measure(np.ones((1, weights.shape[1])))[0], low, high)


def _reject_disconnected(met: NDArray[np.bool_], policies: Sequence[str]) -> None:
    parts, part = connected_components(met, directed=False)
    if parts > 1:
        apart = policies[int(np.argmax(part != part[0]))]
        raise ValueError(
            f"Elo: {apart} and {policies[0]} share no competition, not even by way of others; "
            "evaluate both on one or rate them apart"
        )


def _reject_infinite(wins: Array, policies: Sequence[str]) -> None:
    """The maximum is finite if and only if every policy can be reached by wins (Ford 1957)."""
    for sample in wins:
        parts, part = connected_components(sample > 0, directed=True, connection="strong")
        if parts > 1:
            group = [name for name, of in zip(policies, part, strict=True) if of == part[0]]
            raise ValueError(
                f"Elo: {', '.join(group)} won or lost everything against the others, so that no "
                "finite rating is most likely; fit with a prior above 0"
            )
