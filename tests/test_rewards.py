"""Rewards on cases worked out by hand, and what they must never pay for."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import CONFIG
from hypothesis import given
from hypothesis import strategies as st
from made_up import ACTED, OBSERVED, episode, spoken, turn

from agent.core.settings import section
from agent.training.rewards import RewardSettings, token_rewards, turn_rewards

SHIPPED = section(CONFIG, "rewards", RewardSettings)
ROUND = RewardSettings(
    unparsable_penalty=4.0,
    failure_penalty=2.0,
    nothing_valid_penalty=8.0,
    milestone_credit=0.0,
    placement="turn",
)
FREE = RewardSettings(0.0, 0.0, 0.0, 0.0, "turn")
FAILURES = ("crashed", "timed_out", "refused", "no_submission", "invalid_submission")

failed = st.sampled_from(FAILURES).map(lambda outcome: turn(outcome=outcome))
unread = st.just(turn(outcome="unparsable", action="invalid"))
scored = st.floats(0, 1).map(turn)
asked = st.sampled_from(["request_info", "get_history", "reset", "validate_code"])
inactive = asked.map(lambda action: turn(action=action))
any_turns = st.lists(failed | unread | scored | inactive, min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([turn(0.5)], [0.5]),
        ([turn(0.0)], [0.0]),
        ([turn(0.25), turn(0.75)], [0.25, 0.5]),
        ([turn(0.75), turn(0.25), turn(1.0)], [0.75, 0.0, 0.25]),
        ([turn(0.5), turn(0.5)], [0.5, 0.0]),
        ([turn(outcome="crashed"), turn(0.5)], [-2.0, 0.5]),
        ([turn(0.5), turn(outcome="unparsable")], [0.5, -4.0]),
        ([turn(action="get_history"), turn(0.5)], [0.0, 0.5]),
        ([turn(action="get_history")], [-8.0]),
        ([turn(action="get_history"), turn(action="reset")], [0.0, -8.0]),
        ([turn(outcome="crashed"), turn(outcome="unparsable")], [-2.0, -12.0]),
    ],
)
def test_rewards_are_those_worked_out_by_hand(turns, expected):
    rewards = turn_rewards(turns, ROUND)
    assert rewards.dtype == np.float32 and rewards.tolist() == expected


@pytest.mark.parametrize("outcome", FAILURES)
def test_every_kind_of_failure_costs_the_same(outcome):
    assert turn_rewards([turn(outcome=outcome), turn(0.0)], ROUND)[0] == -2.0


CREDITED = replace(ROUND, milestone_credit=0.5)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (turn(outcome="crashed"), -2.0),
        (turn(outcome="timed_out"), -2.0),
        (turn(outcome="refused", action="request_info"), -2.0),
        (turn(outcome="no_submission"), -1.5),
        (turn(outcome="invalid_submission"), -1.0),
        (turn(outcome="invalid_submission", hack_attempts=("path: /etc/shadow",)), -2.0),
        (turn(outcome="unparsable", action="invalid"), -4.0),
        (turn(action="validate_code"), 0.0),
        (turn(0.0), 0.0),
    ],
)
def test_partial_credit_is_for_what_the_environment_saw(made, expected):
    assert turn_rewards([made, turn(0.0)], CREDITED)[0] == expected


@given(any_turns)
def test_partial_credit_never_makes_a_failure_pay(turns):
    for made, reward in zip(turns, turn_rewards([*turns, turn(0.0)], CREDITED), strict=False):
        assert reward < 0 or made.outcome == "ok"


@pytest.mark.parametrize("credit", [0.025, 1.0])
def test_partial_credit_that_outweighs_a_failure_is_refused(credit):
    with pytest.raises(ValueError, match=r"rewards\.milestone_credit .* is not below half of"):
        replace(SHIPPED, milestone_credit=credit)


@given(any_turns)
def test_the_whole_reward_of_a_trajectory_lies_on_its_last_turn(turns):
    rewards = turn_rewards(turns, replace(ROUND, placement="trajectory"))
    assert not rewards[:-1].any()
    assert rewards[-1] == pytest.approx(turn_rewards(turns, ROUND).sum(), abs=1e-5)


@given(any_turns)
def test_without_penalties_an_episode_returns_its_best_position(turns):
    best = max((made.position_score or 0.0 for made in turns), default=0.0)
    assert turn_rewards(turns, FREE).sum() == pytest.approx(best, abs=1e-6)


@given(any_turns, any_turns)
def test_a_turn_is_rewarded_for_what_it_adds_to_the_turns_before(turns, later):
    if all(made.position_score is None for made in turns):
        turns = [turn(0.0), *turns]
    alone = turn_rewards(turns, ROUND)
    np.testing.assert_array_equal(turn_rewards([*turns, *later], ROUND)[: len(turns)], alone)


@given(st.lists(inactive, min_size=1, max_size=4), failed | unread, scored)
def test_inaction_never_pays_better_than_one_error_before_any_submission(idle, error, submission):
    tried = turn_rewards([error, submission], SHIPPED).sum()
    assert turn_rewards(idle, SHIPPED).sum() <= tried + 1e-6


@given(any_turns)
def test_submitting_anything_valid_never_pays_less_than_another_failure(turns):
    submitted = turn_rewards([*turns, turn(0.0)], SHIPPED).sum()
    assert submitted > turn_rewards([*turns, turn(outcome="crashed")], SHIPPED).sum()


def test_rewards_lie_on_the_last_token_of_each_action():
    rewards = token_rewards(episode([turn(0.25), turn(outcome="crashed"), turn(0.75)]), ROUND)
    size = OBSERVED + ACTED
    assert rewards.dtype == np.float32 and len(rewards) == 3 * size + OBSERVED
    assert np.flatnonzero(rewards).tolist() == [size - 1, 2 * size - 1, 3 * size - 1]
    assert rewards[[size - 1, 2 * size - 1, 3 * size - 1]].tolist() == [0.25, -2.0, 0.5]


@given(any_turns)
def test_no_reward_lies_on_an_observation_and_none_is_lost(turns):
    made = episode(turns)
    rewards = token_rewards(made, SHIPPED)
    assert not rewards[made.action_mask == 0].any()
    assert rewards.sum() == pytest.approx(turn_rewards(turns, SHIPPED).sum(), abs=1e-6)


def test_an_episode_of_text_alone_cannot_be_trained_on():
    with pytest.raises(ValueError) as refused:
        token_rewards(spoken([turn(0.5)]), ROUND)
    assert "only episodes of a token-level policy can be trained on" in str(refused.value)


def test_a_turn_that_does_not_end_in_an_action_is_an_error():
    made = episode([turn(0.5)])
    made.action_mask[-OBSERVED - 1] = 0
    with pytest.raises(ValueError, match="episode 0 of wine: a turn does not end in an action"):
        token_rewards(made, ROUND)
