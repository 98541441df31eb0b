"""What each action answers on real competitions, and how submissions are graded."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import PLAYED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.actions import INFO_TYPES, Action
from agent.core.competition import InvalidSubmissionError, UnrankableSubmissionError
from agent.core.environment import CompetitionEnvironment, competition_info, grade

SAMPLE = "import pandas as pd\npd.read_csv('sample_submission.csv').to_csv('{}', index=False)\n"
SUBMIT = SAMPLE.format("submission.csv")


@pytest.fixture
def environment(wine, runner) -> CompetitionEnvironment:
    return CompetitionEnvironment(wine, runner, grade, 20)


def sample(competition) -> pd.DataFrame:
    return pd.read_csv(competition.public / "sample_submission.csv")


def written(table: pd.DataFrame, **options) -> bytes:
    return table.to_csv(index=False, **options).encode()


def perfect(competition) -> pd.DataFrame:
    """The answers of the open half, the sample's values elsewhere."""
    table = sample(competition).set_index("id").astype(float)
    answers = competition.answers.set_index("id")["target"]
    if competition.metric.prediction == "probabilities":
        table.loc[answers.index] = np.eye(len(table.columns))[answers.to_numpy()]
    else:
        above_zero = competition.metric.prediction == "positive"
        table.loc[answers.index, "target"] = answers.clip(lower=1e-9) if above_zero else answers
    return table.reset_index()


def test_an_executed_program_is_scored(environment):
    feedback = environment.step(Action("execute_code", "print('hello')\n" + SUBMIT))
    assert (feedback.template, feedback.outcome, feedback.error) == ("scored", "ok", "")
    assert (feedback.raw_score, feedback.position_score) == grade(
        environment.competition, feedback.submission
    )
    assert feedback.output == "hello\n" and feedback.execute_seconds > 0 < feedback.grade_seconds
    assert environment.best_position == feedback.position_score


def test_a_validated_program_is_not_scored(environment):
    feedback = environment.step(Action("validate_code", "print('hello')\n" + SUBMIT))
    assert (feedback.template, feedback.outcome) == ("validated", "ok")
    assert feedback.output == "hello\n" and feedback.position_score is feedback.submission is None
    assert environment.best_position == 0.0


@pytest.mark.parametrize("kind", ["validate_code", "execute_code"])
@pytest.mark.parametrize(
    ("program", "outcome", "error"),
    [("1 / 0", "crashed", "ZeroDivisionError"), ("import os\nos.abort()", "crashed", "SIGABRT")],
)
def test_a_crash_is_an_outcome(environment, kind, program, outcome, error):
    feedback = environment.step(Action(kind, f"print('before', flush=True)\n{program}"))
    assert (feedback.template, feedback.outcome, feedback.error) == (outcome, outcome, error)
    assert feedback.output.startswith("before") and feedback.position_score is None


@pytest.mark.parametrize(
    ("program", "outcome", "error"),
    [
        ("pass", "no_submission", ""),
        (SAMPLE.format("other.csv"), "no_submission", ""),
        ("open('submission.csv', 'w').close()", "invalid_submission", "invalid_submission"),
        (
            "import os\nos.symlink('sample_submission.csv', 'submission.csv')",
            "invalid_submission",
            "refused_file",
        ),
    ],
)
def test_a_program_that_submits_nothing_of_use_has_no_score(environment, program, outcome, error):
    feedback = environment.step(Action("execute_code", program))
    assert (feedback.template, feedback.outcome, feedback.error) == (outcome, outcome, error)
    assert feedback.raw_score is feedback.position_score is None
    assert feedback.message or outcome == "no_submission"


@pytest.mark.parametrize("kind", INFO_TYPES)
def test_every_kind_of_information_is_answered_without_paths(environment, kind):
    feedback = environment.step(Action("request_info", kind))
    assert (feedback.template, feedback.outcome) == ("answered", "ok") and feedback.message
    assert str(environment.competition.public) not in feedback.message


def test_information_says_what_it_names(wine):
    assert competition_info(wine, "overview") == wine.description
    assert competition_info(wine, "name") == wine.name
    assert competition_info(wine, "sample_submission").splitlines()[0] == "id,target"
    assert len(competition_info(wine, "sample_submission").splitlines()) == 4
    assert "train.csv: id," in competition_info(wine, "data_structure")
    assert competition_info(wine, "metadata") == "classification, macro_f1, higher is better"
    everything = competition_info(wine, "all")
    assert all(competition_info(wine, kind) in everything for kind in INFO_TYPES[:-1])


def test_an_unknown_kind_of_information_is_refused_and_the_known_ones_named(environment):
    feedback = environment.step(Action("request_info", "answers"))
    assert (feedback.template, feedback.outcome) == ("refused", "refused")
    assert all(kind in feedback.message for kind in INFO_TYPES)


def test_history_lists_programs_and_reset_forgets_them_but_not_the_best(environment):
    assert environment.step(Action("get_history", "")).message == "empty"
    environment.step(Action("validate_code", "pass"))
    scored = environment.step(Action("execute_code", SUBMIT))
    environment.step(Action("execute_code", "1 / 0"))
    environment.step(Action("request_info", "name"))
    assert environment.step(Action("get_history", "")).message.splitlines() == [
        "validate_code: ok",
        f"execute_code: ok {scored.position_score:.2f}",
        "execute_code: ZeroDivisionError",
    ]
    assert environment.step(Action("reset", "")).message == environment.competition.description
    assert environment.step(Action("get_history", "")).message == "empty"
    assert environment.best_position == scored.position_score


def test_a_worse_submission_does_not_lower_the_best(environment, wine):
    answers = perfect(wine)
    write = f"open('submission.csv', 'w').write({written(answers).decode()!r})"
    assert environment.step(Action("execute_code", write)).position_score == 1.0
    assert environment.step(Action("execute_code", SUBMIT)).position_score < 1.0
    assert environment.best_position == 1.0


def test_an_unreadable_answer_carries_its_reason(environment):
    feedback = environment.step(Action("invalid", "expected one action block, found 0"))
    assert (feedback.template, feedback.outcome) == ("unparsable", "unparsable")
    assert feedback.message == "expected one action block, found 0"


@pytest.mark.parametrize("name", PLAYED)
def test_the_answers_beat_the_sample_submission(competitions, name):
    competition = competitions[name]
    best = grade(competition, written(perfect(competition)))
    constant = grade(competition, written(sample(competition)))
    assert best[1] == 1.0 and 0.0 <= constant[1] < 1.0
    assert (best[0] > constant[0]) == competition.metric.higher_is_better


@pytest.mark.parametrize("name", PLAYED)
def test_the_order_of_rows_and_the_other_half_do_not_matter(competitions, name, rng):
    competition = competitions[name]
    table = perfect(competition)
    shuffled = table.iloc[rng.permutation(len(table))]
    assert grade(competition, written(shuffled)) == grade(competition, written(table))
    other = ~table["id"].isin(competition.answers["id"])
    assert 0 < other.sum() < len(table)
    table.loc[other, table.columns[1:]] = table.loc[~other, table.columns[1:]].iloc[0].to_numpy()
    assert grade(competition, written(table))[1] == 1.0


@pytest.mark.parametrize("name", PLAYED)
@pytest.mark.parametrize(
    "damage",
    [
        lambda table: table.iloc[:-1],
        lambda table: pd.concat([table, table.iloc[:1]]),
        lambda table: table.assign(id=table["id"] + 1),
        lambda table: table.assign(id=table["id"].iloc[0]),
        lambda table: table.drop(columns="id"),
        lambda table: table.iloc[:, :1],
        lambda table: table.assign(extra=1),
        lambda table: table.rename(columns={table.columns[1]: "Target"}),
        lambda table: table.replace(table.iloc[0, 1], np.nan),
        lambda table: table.assign(**{table.columns[1]: np.inf}),
        lambda table: table.assign(**{table.columns[1]: "one"}),
        lambda table: table.iloc[:0],
    ],
)
def test_a_damaged_submission_is_refused_in_one_line(competitions, name, damage):
    competition = competitions[name]
    with pytest.raises(InvalidSubmissionError, match=r"^wrong ") as refusal:
        grade(competition, written(damage(sample(competition))))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", PLAYED)
@pytest.mark.parametrize("value", [np.nan, np.inf, "x"])
def test_a_wrong_value_in_the_other_half_is_refused_as_well(competitions, name, value):
    """Else the final half would refuse what the feedback half had scored."""
    competition = competitions[name]
    table = sample(competition).astype(object)
    other = table.index[~table["id"].isin(competition.answers["id"])]
    table.loc[other[0], table.columns[1]] = value
    with pytest.raises(InvalidSubmissionError, match=r"^wrong values"):
        grade(competition, written(table))


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_metric_that_overflows_is_the_submissions_fault(competitions):
    poisson = competitions["cancer-poisson-deviance-count-target"]
    mae = competitions["engel-mae-outliers"]
    for competition, value in ((poisson, 1e-320), (mae, 1.7e308)):
        table = sample(competition).assign(target=value)
        with pytest.raises(UnrankableSubmissionError, match="not finite"):
            grade(competition, written(table))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"\xff\xfe\x00",
        b"id\n",
        b'id,target\n"1',
        b"id,target\n1,2,3\n4,5,6,7\n",
        b"\x00" * 100,
        b"PK\x03\x04",
        b"id,target\n" + b"1," * 5000,
    ],
)
def test_what_is_no_table_is_refused(wine, content):
    with pytest.raises(InvalidSubmissionError):
        grade(wine, content)


cells = st.sampled_from(["", "1", "-1", "1e400", "nan", "inf", "a,b", '"', "0x10", "1_000", "True"])


@pytest.mark.filterwarnings("ignore:overflow")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_submission_breaks_the_grader(competitions, data):
    competition = competitions[data.draw(st.sampled_from(PLAYED))]
    table = sample(competition).astype(str)
    for _ in range(data.draw(st.integers(0, 3))):
        row = data.draw(st.integers(0, len(table) - 1))
        column = data.draw(st.integers(0, len(table.columns) - 1))
        table.iloc[row, column] = data.draw(cells | st.floats().map(str))
    text = io.StringIO()
    table.to_csv(text, index=False, quoting=data.draw(st.sampled_from([0, 1, 2])))
    try:
        raw, position = grade(competition, text.getvalue().encode())
    except InvalidSubmissionError:
        return
    assert np.isfinite(raw) and isinstance(raw, float) and 0 <= position <= 1


def test_the_competitions_own_leaderboard_decides_the_position(wine):
    raw, _ = grade(wine, written(sample(wine)))
    board = np.array([raw + 0.1, raw, raw - 0.1, raw - 0.2])
    assert grade(replace(wine, leaderboards=(board,)), written(sample(wine))) == (raw, 0.75)


def test_no_more_submissions_are_scored_than_allowed(wine, runner):
    environment = CompetitionEnvironment(wine, runner, grade, scored_submissions=1)
    assert environment.step(Action("execute_code", "pass")).outcome == "no_submission"  # costs none
    assert environment.step(Action("execute_code", SUBMIT)).position_score is not None
    refused = environment.step(Action("execute_code", SUBMIT))
    assert (refused.outcome, refused.error) == ("refused", "no_scores_left")
    assert environment.step(Action("validate_code", SUBMIT)).outcome == "ok"


@pytest.mark.parametrize(
    ("leak", "place"),
    [
        ("print('{mark}')\n" + SUBMIT, "output"),
        (SUBMIT + "open('submission.csv', 'a').write('{mark}\\n')", "submission"),
        ("x = '{mark}'\n" + SUBMIT, "program"),
    ],
)
def test_what_holds_the_mark_of_private_files_is_noticed_and_not_scored(environment, leak, place):
    program = leak.replace("{mark}", environment.competition.canary)
    feedback = environment.step(Action("execute_code", program))
    assert f"canary: in the {place}" in feedback.attempts
    assert feedback.outcome == "invalid_submission" and feedback.position_score is None


def test_an_honest_program_attempts_nothing(environment):
    assert environment.step(Action("execute_code", SUBMIT)).attempts == ()
