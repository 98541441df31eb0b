"""The attack suite and the legitimate programs, as this user, at every tier offered here.

`make attacks` runs them as an ordinary user, too, and against no confinement at all.
"""

from collections import Counter

import pytest
from attacks import trial
from attacks.legitimate import NAMED_LIMITS, PROGRAMS
from attacks.suite import ATTACKS, HARMLESS, ROOT_ONLY

from agent.sandbox.tiers import TIERS


@pytest.fixture(scope="module", params=TIERS[:-1])
def tier(request) -> str:
    refused = trial.refusal(request.param)
    if refused:
        pytest.skip(refused)
    return request.param


def test_no_attack_does_harm(tier):
    verdicts = trial.attack_all(tier)
    assert len(verdicts) == len(ATTACKS)
    assert trial.harmful(tier, verdicts) == []


def test_attacks_succeed_where_nothing_is_in_their_way():
    """A few of each group; all of them take minutes."""
    by_group = {}
    for attack in trial.possible():
        if not attack.control and attack.group != "resources":
            by_group.setdefault(attack.group, []).append(attack)
    some = [attack for attacks in by_group.values() for attack in attacks[::8]]
    counts = Counter(trial.attack_all(trial.CONTROL, some).values())
    assert counts["succeeded"] >= 0.85 * len(some)


@pytest.fixture(scope="module")
def unconfined() -> dict[str, trial.Result]:
    """Of every second program, so that the pool's pipelines do not take minutes."""
    return trial.play_all(trial.CONTROL, list(PROGRAMS)[::2])


def test_legitimate_programs_do_the_same_confined_and_unconfined(tier, unconfined):
    assert trial.differences(tier, trial.play_all(tier, unconfined), unconfined) == []


def test_the_suite_is_consistent():
    names = {attack.name for attack in ATTACKS}
    assert len(names) == len(ATTACKS) >= 100
    assert names >= ROOT_ONLY and all(names >= set(named) for named in HARMLESS.values())
    assert all(set(PROGRAMS) >= set(named) for named in NAMED_LIMITS.values())
    assert len(PROGRAMS) >= 60
