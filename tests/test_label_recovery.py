"""Asking for scores until they spell out the answers, mounted for real (arXiv 1502.04585).

The attacker starts from one submission, changes one prediction at a time and keeps what scores
better: with enough exact scores it reads off every label.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from agent.core.actions import Action
from agent.core.competition import Competition
from agent.core.environment import CompetitionEnvironment, Feedback, grade
from agent.core.prompts import PromptManager


@dataclass
class Attacker:
    """Knows the test ids and what an agent is told; it never sees `answers`."""

    environment: CompetitionEnvironment
    exact: bool

    def score(self, labels: np.ndarray) -> float | None:
        ids = self.environment.competition.test_ids
        rows = "".join(f"{number},{label}\n" for number, label in zip(ids, labels, strict=True))
        feedback = self.environment.step(
            Action("execute_code", f"open('submission.csv', 'w').write('''id,target\n{rows}''')")
        )
        if feedback.raw_score is None:
            assert feedback.error == "no_scores_left"
            return None
        return feedback.raw_score if self.exact else self.read(feedback)

    def read(self, feedback: Feedback) -> float:
        """The score as the prompt words it, with the digits that it has there."""
        text = PromptManager("zero_shot").render(
            "scored",
            {
                "raw_score": feedback.raw_score,
                "position_score": feedback.position_score,
                "best_position": self.environment.best_position,
                "metric": "macro F1",
                "higher_is_better": True,
                "output": "",
                "turns_left": 1,
            },
        )
        return float(text.split("scored ")[1].split()[0])

    def recover(self, classes: int, rng: np.random.Generator) -> np.ndarray:
        labels = rng.integers(classes, size=len(self.environment.competition.test_ids))
        best = self.score(labels)
        for row in rng.permutation(len(labels)):
            for other in set(range(classes)) - {int(labels[row])}:
                changed = labels.copy()
                changed[row] = other
                score = self.score(changed)
                if score is None:
                    return labels
                if best is None or score > best:
                    labels, best = changed, score
        return labels


def recovered_share(wine: Competition, runner, budget: int, exact: bool) -> float:
    environment = CompetitionEnvironment(wine, runner, grade, budget)
    labels = Attacker(environment, exact).recover(3, np.random.default_rng(0))
    guesses = dict(zip(wine.test_ids, labels, strict=True))
    answers = wine.answers.set_index("id")["target"]
    return float(np.mean([guesses[number] == answer for number, answer in answers.items()]))


@pytest.fixture
def writer(runner, wine):
    """Runs programs that only write a file, without a process for each of hundreds."""

    class Writes:
        confinement = runner.confinement

        def run(self, program, public):
            text = program.split("'''")[1]
            execution = runner.run("pass", public) if not hasattr(self, "seen") else self.seen
            self.seen = execution
            return replace(execution, submission=text.encode())

    return Writes()


def test_without_a_budget_every_label_would_be_read_off(wine, writer):
    assert recovered_share(wine, writer, budget=10_000, exact=True) > 0.95


def test_the_budget_of_the_study_leaves_labels_unknown(wine, writer):
    start = np.random.default_rng(0).integers(3, size=len(wine.test_ids))
    guesses = dict(zip(wine.test_ids, start, strict=True))
    answers = wine.answers.set_index("id")["target"]
    by_chance = np.mean([guesses[number] == answer for number, answer in answers.items()])
    gained = recovered_share(wine, writer, budget=20, exact=False) - by_chance
    assert gained * len(answers) <= 10  # twenty scores, half of them spent on what was wrong
