"""Golden episodes: written answers played on a real competition, in the real sandbox."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from conftest import CONFIG, PLAYED
from hypothesis import given
from hypothesis import strategies as st
from sandboxes import limits

from agent.core.actions import format_action
from agent.core.base_agent import Response
from agent.core.environment import CompetitionEnvironment, grade
from agent.core.episode import EpisodeKey, EpisodeLimits
from agent.core.play import Rollout, play_episodes
from agent.core.prompts import PromptManager
from agent.core.records import Conversation, Trajectory
from agent.core.settings import section
from agent.core.timing import Stopwatch
from agent.core.trajectories import read_trajectories, write_trajectories
from agent.sandbox.opening import SandboxSettings
from agent.sandbox.runner import WarmRunner
from agent.sandbox.tiers import TIERS
from agent.wrappers.scripted_policy import ScriptedPolicy, replay

FOREST = """\
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
train, test = pd.read_csv("train.csv"), pd.read_csv("test.csv")
model = RandomForestClassifier(30, random_state=0)
model.fit(train.drop(columns=["id", "target"]), train["target"])
print("fitted")
pd.DataFrame({"id": test["id"], "target": model.predict(test.drop(columns="id"))}).to_csv(
    "submission.csv", index=False
)
"""
SAMPLE = "open('submission.csv', 'w').write(open('sample_submission.csv').read())"
WRONG = "open('submission.csv', 'w').write('id,label\\n1,1\\n')"
# What the agent writes, and what becomes of it: action, outcome, kind of error.
GOLDEN = [
    (format_action("request_info", "name"), ("request_info", "ok", "")),
    ("I would rather think.", ("invalid", "unparsable", "")),
    (format_action("validate_code", FOREST), ("validate_code", "ok", "")),
    (format_action("execute_code", "1 / 0"), ("execute_code", "crashed", "ZeroDivisionError")),
    (format_action("execute_code", "print(1)"), ("execute_code", "no_submission", "")),
    (
        format_action("execute_code", WRONG),
        ("execute_code", "invalid_submission", "invalid_submission"),
    ),
    (
        format_action("execute_code", "print('start')\nwhile True: pass"),
        ("execute_code", "timed_out", ""),
    ),
    (
        format_action("request_info", "answers"),
        ("request_info", "refused", "unknown_info_type"),
    ),
    ("It is time.\n" + format_action("execute_code", FOREST), ("execute_code", "ok", "")),
    (format_action("execute_code", SAMPLE), ("execute_code", "ok", "")),
    (format_action("get_history"), ("get_history", "ok", "")),
    (format_action("reset"), ("reset", "ok", "")),
    (format_action("get_history"), ("get_history", "ok", "")),
]
LIMITS = EpisodeLimits(max_turns=len(GOLDEN), output_characters=400, seconds=600.0)


@pytest.fixture(scope="module")
def impatient() -> Iterator[WarmRunner]:
    modules = section(CONFIG, "sandbox", SandboxSettings).modules
    with WarmRunner(limits(seconds=3.0, output_kb=4), modules) as warm:
        yield warm


def play(policy, environments, prompts="zero_shot", limits=LIMITS, workers=2) -> list[Trajectory]:
    stopwatch = Stopwatch("test", "episode")
    rollout = Rollout(policy, PromptManager(prompts), limits, workers, "limits", stopwatch)
    keys = [EpisodeKey(1, 2, 3, number) for number in range(len(environments))]
    return play_episodes(rollout, environments, keys)


@pytest.fixture(scope="module")
def golden(impatient, wine) -> dict[str, Trajectory]:
    """The golden episode under both prompt sets."""
    policy = ScriptedPolicy("golden", replay([answer for answer, _ in GOLDEN]))
    return {
        prompts: play(policy, [CompetitionEnvironment(wine, impatient, grade, 20)], prompts)[0]
        for prompts in ("zero_shot", "compact")
    }


@pytest.mark.parametrize("prompts", ["zero_shot", "compact"])
def test_every_answer_is_recorded_with_what_became_of_it(golden, prompts):
    trajectory = golden[prompts]
    recorded = [(turn.action, turn.outcome, turn.error) for turn in trajectory.turns]
    assert recorded == [expected for _, expected in GOLDEN]
    assert [turn.text for turn in trajectory.turns] == [answer for answer, _ in GOLDEN]
    assert trajectory.stop_reason == "max_turns"


def test_the_prompts_change_what_is_seen_and_nothing_else(golden):
    zero_shot, compact = golden["zero_shot"], golden["compact"]
    for one, other in zip(zero_shot.turns, compact.turns, strict=True):
        assert one.observation != other.observation
        assert (one.submission, one.raw_score, one.position_score) == (
            other.submission,
            other.raw_score,
            other.position_score,
        )


def test_scores_are_those_of_the_grader(golden, wine):
    forest, constant = (golden["zero_shot"].turns[number] for number in (8, 9))
    assert (forest.raw_score, forest.position_score) == grade(wine, forest.submission)
    assert constant.submission == (wine.public / "sample_submission.csv").read_bytes()
    assert 0 <= constant.position_score < forest.position_score
    others = [turn for number, turn in enumerate(golden["zero_shot"].turns) if number not in (8, 9)]
    assert all(turn.raw_score is turn.position_score is None for turn in others)
    assert [turn.submission for turn in others if turn.submission] == [b"id,label\n1,1\n"]


def test_the_default_prompts_say_what_happened(golden, wine):
    forest, constant = (golden["zero_shot"].turns[number] for number in (8, 9))
    expected = [
        wine.name,
        "No action was carried out: expected one action block, found 0. "
        "Answer with exactly one fenced action block.",
        "The program runs.\nfitted\n",
        "The program failed.\nTraceback (most recent call last):\n"
        '  File "program.py", line 1, in <module>\n'
        "ZeroDivisionError: division by zero\nZeroDivisionError: division by zero",
        "The program ended without writing submission.csv.\n1\n",
        "The submission is not valid: wrong number of rows: "
        f"expected {len(wine.test_ids)}, got 1\n",
        "The program was stopped at its time limit.\nstart\n",
        "The action was refused: info type must be overview, sample_submission, data_structure, "
        "data_path, output_path, name, metadata, all.",
        f"The submission scored {forest.raw_score:.3g} (macro_f1, higher is better).\n"
        f"Position score: {forest.position_score:.2f} "
        f"(best so far {forest.position_score:.2f})\nfitted\n",
        f"The submission scored {constant.raw_score:.3g} (macro_f1, higher is better).\n"
        f"Position score: {constant.position_score:.2f} "
        f"(best so far {forest.position_score:.2f})\n",
        "validate_code: ok\nexecute_code: ZeroDivisionError\nexecute_code: no_submission\n"
        "execute_code: invalid_submission\nexecute_code: timed_out\n"
        f"execute_code: ok {forest.position_score:.2f}\n"
        f"execute_code: ok {constant.position_score:.2f}",
        wine.description[:200] + "\n[",
        "empty",
    ]
    for number, (turn, start) in enumerate(zip(golden["zero_shot"].turns, expected, strict=True)):
        assert turn.observation.startswith(start)
        assert turn.observation.endswith(f"\nTurns left: {len(GOLDEN) - number - 1}")


def test_the_compact_prompts_say_it_in_few_words(golden, wine):
    forest, constant = (golden["compact"].turns[number] for number in (8, 9))
    scored = "position: {:.2f}\nbest: {:.2f}"
    history = "validate_code: ok\nexecute_code: ZeroDivisionError\nexecute_code: no_submission\n"
    expected = [
        wine.name,
        "unreadable",
        "runs",
        "crashed: ZeroDivisionError: division by z",
        "no submission.csv",
        "invalid: wrong number of rows: expected",
        "timed out",
        "refused",
        scored.format(forest.position_score, forest.position_score),
        scored.format(constant.position_score, forest.position_score),
        (history + "execute_code")[:80],
        wine.description[:80].strip(),
        "empty",
    ]
    for number, (turn, start) in enumerate(zip(golden["compact"].turns, expected, strict=True)):
        assert turn.observation.startswith(start)
        assert turn.observation.endswith(f"\nturns left: {len(GOLDEN) - number - 1}")


@pytest.mark.parametrize("prompts", ["zero_shot", "compact"])
def test_the_conversation_alternates_and_opens_with_the_task(golden, wine, prompts):
    messages = golden[prompts].messages
    roles = [message.role for message in messages]
    assert roles == ["system", "user"] + ["assistant", "user"] * len(GOLDEN)
    assert wine.metric.title in messages[1].content
    assert f"{len(GOLDEN)} turns" in messages[1].content or prompts == "compact"
    turns = golden[prompts].turns
    assert [m.content for m in messages[2::2]] == [turn.text for turn in turns]
    assert [m.content for m in messages[3::2]] == [turn.observation for turn in turns]


def test_the_record_says_where_it_belongs_and_how_long_it_took(golden, wine):
    trajectory = golden["zero_shot"]
    key = (trajectory.seed, trajectory.iteration, trajectory.shard, trajectory.episode)
    assert key == (1, 2, 3, 0)
    assert (trajectory.competition, trajectory.group) == (wine.name, "train")
    assert (trajectory.policy, trajectory.temperature) == ("golden", 0.0)
    assert trajectory.sandbox.startswith(TIERS) and len(trajectory.token_ids) == 0
    timed_out, forest = trajectory.turns[6], trajectory.turns[8]
    assert timed_out.execute_seconds >= 3.0 and timed_out.grade_seconds == 0.0
    assert forest.execute_seconds > 0 and forest.grade_seconds > 0


def test_a_golden_episode_survives_its_file(golden, tmp_path):
    path = tmp_path / "shard0.parquet"
    write_trajectories(path, list(golden.values()), {})
    assert [t.turns for t in read_trajectories(path)] == [t.turns for t in golden.values()]


def test_an_episode_out_of_time_gets_no_further_turn(runner, wine):
    policy = ScriptedPolicy("golden", replay([answer for answer, _ in GOLDEN]))
    limits = replace(LIMITS, seconds=0.0)
    trajectory = play(policy, [CompetitionEnvironment(wine, runner, grade, 20)], limits=limits)[0]
    assert trajectory.stop_reason == "seconds" and len(trajectory.turns) == 1


def test_the_last_turn_counts_as_such_even_when_time_is_over(runner, wine):
    policy = ScriptedPolicy("golden", replay([format_action("get_history")]))
    limits = EpisodeLimits(1, 400, seconds=0.0)
    trajectory = play(policy, [CompetitionEnvironment(wine, runner, grade, 20)], limits=limits)[0]
    assert trajectory.stop_reason == "max_turns"


class RunsOut:
    """Answers a few rounds, then has no room left; some answers are cut off."""

    name, temperature, in_rounds = "runs-out", 1.0, True

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds

    def respond(
        self, conversations: Sequence[Conversation], seeds: Sequence[int]
    ) -> list[Response]:
        if len(conversations[0].messages) >= 2 + 2 * self.rounds:
            return [Response("", "context") for _ in conversations]
        return [Response(format_action("get_history"), "length") for _ in conversations]


def test_an_episode_without_room_keeps_its_turns(runner, wine):
    trajectory = play(RunsOut(2), [CompetitionEnvironment(wine, runner, grade, 20)])[0]
    assert trajectory.stop_reason == "context" and len(trajectory.turns) == 2
    assert trajectory.messages[-1].role == "user"


def test_an_answer_that_was_cut_off_is_not_carried_out(runner, wine):
    environment = CompetitionEnvironment(wine, runner, grade, 20)
    turn = play(RunsOut(1), [environment])[0].turns[0]
    assert (turn.action, turn.outcome) == ("invalid", "unparsable")
    assert "too long" in turn.observation


@pytest.mark.parametrize(
    ("rounds", "limits"), [(0, LIMITS), (1, replace(LIMITS, max_turns=0))], ids=["room", "turns"]
)
def test_an_episode_without_a_turn_is_an_error(runner, wine, rounds, limits):
    with pytest.raises(RuntimeError, match=rf"episode 0 of {wine.name} ended without a turn"):
        play(RunsOut(rounds), [CompetitionEnvironment(wine, runner, grade, 20)], limits=limits)


def test_a_failure_of_the_machine_is_not_an_outcome(runner, wine, tmp_path):
    lost = CompetitionEnvironment(replace(wine, public=tmp_path / "gone"), runner, grade, 20)
    policy = ScriptedPolicy("golden", replay([format_action("execute_code", "pass")]))
    with pytest.raises(FileNotFoundError):
        play(policy, [lost])


def guess(conversation: Conversation, rng: np.random.Generator) -> str:
    """Submits the same random number everywhere; the competition's metric makes what it can."""
    fill = f"t.iloc[:, 1:] = {int(rng.integers(1, 3))}"
    program = f"import pandas as pd\nt = pd.read_csv('sample_submission.csv')\n{fill}\n"
    return format_action("execute_code", program + "t.to_csv('submission.csv', index=False)")


def without_seconds(trajectory: Trajectory) -> tuple:
    turns = [
        replace(turn, generate_seconds=0.0, execute_seconds=0.0, grade_seconds=0.0)
        for turn in trajectory.turns
    ]
    return trajectory.competition, trajectory.episode, turns, trajectory.stop_reason


@pytest.mark.parametrize("workers", [1, 6])
def test_episodes_do_not_depend_on_how_many_run_at_once(runner, competitions, workers):
    known = [competitions[name] for name in PLAYED] * 2
    limits = EpisodeLimits(2, 400, 600.0)
    policy = ScriptedPolicy("guess", guess)

    def worlds():
        return [CompetitionEnvironment(competition, runner, grade, 20) for competition in known]

    together = play(policy, worlds(), "compact", limits, workers)
    alone = play(policy, worlds(), "compact", limits, 3)
    assert list(map(without_seconds, together)) == list(map(without_seconds, alone))
    assert [t.competition for t in together] == [competition.name for competition in known]
    assert len({tuple(turn.text for turn in t.turns) for t in together}) > 1


keys = st.builds(EpisodeKey, *[st.integers(0, 30)] * 4)


@given(keys, st.integers(0, 5), keys, st.integers(0, 5))
def test_seeds_differ_between_any_two_turns(one, turn, other, other_turn):
    same = (one, turn) == (other, other_turn)
    assert (one.turn_seed(turn) == other.turn_seed(other_turn)) == same
    assert 0 <= one.turn_seed(turn) < 2**56
