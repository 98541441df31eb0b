"""Which answers an agent's scores come from, and which are kept for the final judgement."""

import numpy as np
import pandas as pd

from agent.competitions.problem import Problem


def split_halves(problem: Problem, test: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """True for the final half of the test rows: every second group, alternating in time order."""
    groups = test if problem.groups is None else problem.groups[test]
    members = pd.unique(groups)
    if not problem.ordered:
        members = rng.permutation(members)
    return np.isin(groups, members[1::2])
