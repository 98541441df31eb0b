"""An episode's score: the final half's position of the submission that feedback preferred."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up import spoken, turn

from agent.competitions.loading import load_competition
from agent.core.competition import Competition
from agent.core.environment import grade
from agent.core.records import Trajectory, Turn
from agent.evaluation.inputs import ACTIONS, OUTCOMES
from agent.grading import SCORE_COLUMNS, final_scores, score_episodes, turn_rows

NAME = "engel-mae-outliers"


@pytest.fixture(scope="module")
def halves(competition_folder) -> tuple[Competition, Competition]:
    folder = competition_folder / NAME
    return load_competition(folder, "feedback"), load_competition(folder, "final")


def submission(halves, *errors: float) -> bytes:
    """The answers, off by so much on each half: the metric is the mean absolute error."""
    tables = [
        half.answers.assign(target=half.answers["target"] + error)
        for half, error in zip(halves, errors, strict=True)
    ]
    return pd.concat(tables).to_csv(index=False).encode()


def scored(halves, *percentiles: float) -> Turn:
    """A turn whose submission is as bad as this percentile of each half's leaderboard."""
    errors = [np.percentile(h.leaderboards[0], p) for h, p in zip(halves, percentiles, strict=True)]
    content = submission(halves, *errors)
    raw, position = grade(halves[0], content)
    return turn(position, submission=content, raw_score=raw)


def score(halves, turns: list[Turn]) -> dict:
    made = spoken(turns, competition=NAME, episode=7)
    return score_episodes([made], {NAME: halves[1]}, "trained", 3, 5).iloc[0].to_dict()


def final_position(halves, made: Turn) -> float:
    return grade(halves[1], made.submission)[1]


def test_the_score_is_that_of_the_submission_best_on_feedback(halves):
    early, good, late = (scored(halves, *off) for off in ((90, 10), (10, 80), (50, 30)))
    finals = [final_position(halves, made) for made in (early, good, late)]
    assert finals[0] > finals[2] > finals[1] > 0  # feedback prefers the worst of them
    row = score(halves, [turn(outcome="crashed"), early, good, turn(action="get_history"), late])
    assert row["score"] == finals[1] and row["feedback_score"] == good.position_score
    assert row["last_score"] == finals[2]
    assert row["raw_score"] == grade(halves[1], good.submission)[0]
    assert (row["executions"], row["valid_submissions"], row["turns"]) == (4, 3, 5)
    assert row["first_score"] == row["first_feedback_score"] == 0.0  # the first one crashed


def test_of_equal_submissions_the_earlier_counts(halves):
    one, two = scored(halves, 20, 5), scored(halves, 20, 70)
    assert one.position_score == two.position_score
    assert score(halves, [one, two])["score"] == final_position(halves, one)
    assert score(halves, [two, one])["score"] == final_position(halves, two)


def test_the_first_execution_counts_for_itself(halves):
    first, better = scored(halves, 80, 40), scored(halves, 0, 0)
    row = score(halves, [turn(action="validate_code"), first, better])
    assert row["first_score"] == final_position(halves, first) < row["score"] == 1.0
    assert row["first_feedback_score"] == first.position_score


def test_without_a_valid_submission_every_score_is_zero(halves):
    invalid = turn(outcome="invalid_submission", submission=b"id\n")
    for turns in ([invalid, turn(outcome="crashed")], [turn(action="reset")]):
        row = score(halves, turns)
        names = ("score", "first_score", "first_feedback_score", "last_score", "feedback_score")
        assert [row[name] for name in names] == [0.0] * 5
        assert row["valid_submissions"] == 0


def test_the_row_says_whose_score_it_is(halves):
    row = score(halves, [scored(halves, 1, 1)])
    assert list(row) == SCORE_COLUMNS
    keys = ("policy", "seed", "iteration", "group", "competition", "data_set", "task_type")
    assert [row[key] for key in keys] == ["trained", 3, 5, "train", NAME, "engel", "regression"]
    assert (row["episode"], row["stop_reason"]) == (7, "max_turns")


def test_turns_without_a_submission_have_no_position(halves):
    made = spoken([turn(outcome="crashed"), scored(halves, 0, 0), turn(action="reset")])
    (none, middle, last) = final_scores(made, halves[1])
    assert none == last == (None, None) and middle[1] == 1.0


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_metric_that_overflows_on_the_final_half_alone_ranks_last(halves):
    content = submission(halves, 0.0, 1.7e308)
    position = grade(halves[0], content)[1]
    assert position == 1.0
    made = spoken([turn(position, submission=content)])
    assert final_scores(made, halves[1]) == [(None, 0.0)]


def test_halves_that_do_not_match_are_an_error(halves, competition_folder):
    other = load_competition(competition_folder / "cancer-poisson-deviance-count-target", "final")
    made = spoken([scored(halves, 1, 1)])
    with pytest.raises(ValueError, match="the two halves of its answers do not match"):
        final_scores(made, other)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_submission_that_feedback_accepts_is_refused_by_the_final_half(halves, value):
    table = pd.read_csv(halves[0].public / "sample_submission.csv")
    for half, other in (halves, halves[::-1]):
        wrong = table.assign(
            target=table["target"].where(table["id"].isin(half.answers["id"]), value)
        )
        for judge in (half, other):
            with pytest.raises(Exception, match="missing or infinite values"):
                grade(judge, wrong.to_csv(index=False).encode())


def test_turn_rows_name_what_evaluation_knows(halves):
    made: list[Trajectory] = [
        spoken([turn(0.5), turn(outcome="unparsable", action="invalid")], episode=0),
        spoken([turn(action="get_history")], episode=1),
    ]
    rows = turn_rows(made, "base", 1, 2, "evaluation")
    assert rows["turn"].tolist() == [0, 1, 0] and rows["episode"].tolist() == [0, 0, 1]
    assert set(rows["action"]) <= set(ACTIONS) and set(rows["outcome"]) <= set(OUTCOMES)
    assert rows["position_score"].isna().tolist() == [False, True, True]
    assert set(rows["source"]) == {"evaluation"} and set(rows["seed"]) == {1}


def test_scores_of_several_episodes_keep_their_order(halves):
    episodes = [
        replace(spoken([scored(halves, off, off)]), competition=NAME, episode=number)
        for number, off in enumerate((50, 0, 20))
    ]
    table = score_episodes(episodes, {NAME: halves[1]}, "base", 0, 0)
    assert table["episode"].tolist() == [0, 1, 2] and table["score"].idxmax() == 1
