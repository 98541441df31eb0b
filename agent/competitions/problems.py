"""All problems of the suite by name."""

from agent.competitions.data_sets import load_data_set
from agent.competitions.problem import Problem, ProblemBuilder
from agent.competitions.series_problems import SERIES_PROBLEMS
from agent.competitions.tabular_problems import TABULAR_PROBLEMS

PROBLEMS: dict[str, tuple[str, ProblemBuilder]] = TABULAR_PROBLEMS | SERIES_PROBLEMS


def load_problem(name: str) -> Problem:
    """Build one problem; `name` is a key of `PROBLEMS`."""
    data_set, build = PROBLEMS[name]
    return build(load_data_set(data_set))
