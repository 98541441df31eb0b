"""Programs of the grammar run, slips fail, and the teacher reacts to what it sees."""

import numpy as np
import pytest
from conftest import PLAYED
from hypothesis import given
from hypothesis import strategies as st

from agent.competitions.folder import SUBMISSION_MEANING
from agent.core.actions import Action, format_action, parse_action
from agent.core.environment import CompetitionEnvironment, grade
from agent.core.records import Conversation, Message
from agent.training.grammar import (
    CLASSIFIERS,
    FEATURES,
    OUTPUTS,
    REGRESSORS,
    ROWS,
    SCALERS,
    SLIPS,
    TARGETS,
    ProgramChoices,
    Task,
    random_program,
    vary,
    with_slip,
)
from agent.training.teacher import Attempt, Teacher, TeacherSettings, draw_attempts, read_task

sentences = st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=30)
seeds = st.integers(0, 2**32)


@st.composite
def tasks(draw) -> Task:
    classification = draw(st.booleans())
    fitting = ["labels", "probability", "probabilities"] if classification else ["values"]
    if not classification:
        fitting.append("positive values")
    return Task(
        metric=draw(sentences),
        condition=draw(sentences),
        classification=classification,
        output=draw(st.sampled_from(fitting)),
        has_lags=not classification and draw(st.booleans()),
    )


def draw_program(task: Task, mistakes: float, seed: int) -> ProgramChoices:
    return random_program(task, mistakes, np.random.default_rng(seed))


@given(tasks(), st.floats(0, 1), seeds)
def test_every_program_compiles_with_and_without_a_slip(task, mistakes, seed):
    source = draw_program(task, mistakes, seed).source()
    compile(source, "program.py", "exec")
    slipped = with_slip(source, np.random.default_rng(seed))
    compile(slipped, "program.py", "exec")
    assert slipped != source


@given(tasks(), st.floats(0, 1), seeds)
def test_every_program_survives_being_sent_as_an_action(task, mistakes, seed):
    source = draw_program(task, mistakes, seed).source()
    action = parse_action(format_action("execute_code", source))
    assert (action.kind, action.argument) == ("execute_code", source)


@given(tasks(), seeds)
def test_a_program_without_mistakes_fits_its_task(task, seed):
    program = draw_program(task, 0.0, seed)
    families = CLASSIFIERS if task.classification else REGRESSORS
    assert program.arguments in families[program.family]
    assert program.output == ("changes" if program.target == "change" else task.output)
    assert program.target != "change" or task.has_lags


@given(tasks(), seeds)
def test_the_program_restates_metric_and_condition_before_it_decides(task, seed):
    source = draw_program(task, 0.0, seed).source()
    assert f"\n# {task.metric}\n# {task.condition}\n" in source
    assert source.index(f"# {task.metric}\n") < source.index("model = ")


@given(tasks(), seeds, seeds)
def test_a_variation_keeps_the_family_and_what_the_task_asks_for(task, seed, other):
    program = draw_program(task, 0.0, seed)
    varied = vary(program, task, np.random.default_rng(other))
    kept = ("family", "classification", "remark", "rows", "target", "output")
    assert all(getattr(varied, name) == getattr(program, name) for name in kept)
    changed = ("arguments", "features", "scaler")
    assert sum(getattr(varied, name) != getattr(program, name) for name in changed) <= 1


@given(tasks(), st.floats(0, 1), seeds)
def test_the_same_seed_draws_the_same_program(task, mistakes, seed):
    assert draw_program(task, mistakes, seed) == draw_program(task, mistakes, seed)


def test_every_decision_is_drawn_sooner_or_later(rng):
    drawn = [
        random_program(Task("m", "c", classification, output, True), 0.5, rng)
        for classification, output in [(True, "labels"), (False, "values")]
        for _ in range(1500)
    ]
    assert {(p.family, p.arguments) for p in drawn} == {
        (family, arguments)
        for family, options in (CLASSIFIERS | REGRESSORS).items()
        for arguments in options
    }
    for name, options in (
        ("features", FEATURES),
        ("rows", ROWS),
        ("scaler", SCALERS),
        ("target", TARGETS),
        ("output", OUTPUTS),
    ):
        assert {getattr(program, name) for program in drawn} == set(options)


@pytest.mark.parametrize("name", PLAYED)
def test_programs_that_fit_their_task_are_scored(competitions, runner, name):
    competition = competitions[name]
    environment = CompetitionEnvironment(competition, runner, grade, 20)
    task = read_task(competition.description)
    for seed in range(8):
        source = draw_program(task, 0.0, seed).source()
        feedback = environment.step(Action("execute_code", source))
        assert feedback.template == "scored", (feedback.message, source)
    assert environment.best_position > 0.1


def plain_program(task: Task) -> ProgramChoices:
    family = "linear_model.LogisticRegression" if task.classification else "linear_model.Ridge"
    arguments = (CLASSIFIERS | REGRESSORS)[family][0]
    remark = "# a\n# b\n"
    parts = ("as they are", "all", "none", "plain", task.output)
    return ProgramChoices(remark, task.classification, family, arguments, *parts)


@pytest.mark.parametrize("name", [PLAYED[0], PLAYED[2]])
@pytest.mark.parametrize("slip", SLIPS)
def test_every_slip_makes_a_good_program_fail(competitions, runner, name, slip):
    competition = competitions[name]
    environment = CompetitionEnvironment(competition, runner, grade, 20)
    source = plain_program(read_task(competition.description)).source()
    right, wrong = slip
    assert environment.step(Action("execute_code", source)).template == "scored"
    feedback = environment.step(Action("execute_code", source.replace(right, wrong)))
    assert feedback.outcome == "crashed"


@pytest.mark.parametrize(
    ("prediction", "output"),
    [
        ("label", "labels"),
        ("probability", "probability"),
        ("probabilities", "probabilities"),
        ("value", "values"),
        ("non_negative", "positive values"),
        ("positive", "positive values"),
    ],
)
def test_the_task_is_read_from_the_words_of_the_description(prediction, output):
    kind = "regression" if "value" in output else "multiclass classification"
    columns = "id,p0,p1,p2" if prediction == "probabilities" else "id,target"
    description = (
        f"# A title: with a colon\ntask: {kind}\nmetric: a metric (lower is better)\n"
        f"condition: a condition\nrows: few\ncolumns: few\n"
        f"submission: {columns} ({SUBMISSION_MEANING[prediction]})\n\nabout\n"
    )
    task = read_task(description)
    condition = "a metric (lower is better)", "a condition"
    assert task == Task(*condition, output not in ("values", "positive values"), output, False)


def test_the_task_of_a_time_series_has_lags(competitions):
    assert read_task(competitions["investment-mae-unit-errors"].description).has_lags
    assert not read_task(competitions["engel-mae-outliers"].description).has_lags


def settings(slips: float = 0.0, other_actions: float = 0.0) -> TeacherSettings:
    return TeacherSettings(12, 0.0, slips, other_actions)


TASK = Task("accuracy", "none", True, "labels", False)


@pytest.fixture
def attempts(rng) -> list[Attempt]:
    return draw_attempts(TASK, settings(), rng)


def answers(attempts: list[Attempt], chosen: TeacherSettings, *later: str) -> list[str]:
    """What the teacher says in 200 episodes, after a conversation that ends like `later`."""
    roles = ["system", "user", *["assistant", "user"] * len(later)]
    messages = [
        Message(role, text) for role, text in zip(roles, ["s", "task", *later], strict=False)
    ]
    teacher = Teacher(attempts, chosen)
    talk = Conversation(messages)
    return [teacher(talk, np.random.default_rng(seed)) for seed in range(200)]


def family(attempts: list[Attempt], answer: str) -> str:
    code = parse_action(answer).argument.strip()
    return next(a.choices.family for a in attempts if a.source.strip() == code)


def run(source: str) -> str:
    return format_action("execute_code", source)


def test_attempts_come_in_pairs_of_one_family(attempts):
    assert len(attempts) == 12
    for one, other in zip(attempts[::2], attempts[1::2], strict=True):
        assert one.choices.family == other.choices.family
        assert one.slipped != one.source == one.choices.source()


def test_a_slip_is_mended(attempts):
    for attempt in attempts:
        replies = answers(attempts, settings(slips=1.0), run(attempt.slipped), "crashed: NameError")
        assert set(replies) == {run(attempt.source)}


def test_a_program_that_fails_without_a_slip_is_given_up(attempts):
    replies = answers(attempts, settings(), run(attempts[0].source), "crashed: ValueError")
    assert len(set(replies)) > 5


@pytest.mark.parametrize("position", ["0.20", "0.79"])
def test_a_position_that_can_be_bettered_is_followed_by_another_family(attempts, position):
    replies = answers(attempts, settings(), run(attempts[0].source), f"position: {position}\n")
    assert attempts[0].choices.family not in {family(attempts, reply) for reply in replies}


def test_a_high_position_is_mostly_followed_by_a_variation(attempts):
    replies = answers(attempts, settings(), run(attempts[0].source), "position: 0.90\nbest: 0.90")
    same = [family(attempts, reply) == attempts[0].choices.family for reply in replies]
    assert 0.55 < np.mean(same) < 0.85


def test_the_first_program_is_drawn_evenly(attempts):
    replies = answers(attempts, settings())
    assert set(replies) == {run(attempt.source) for attempt in attempts}


def test_shares_of_slips_and_other_actions_are_as_set(attempts):
    replies = answers(attempts, settings(slips=0.5, other_actions=0.3))
    kinds = [parse_action(reply).kind for reply in replies]
    assert set(kinds) == {"execute_code", "validate_code", "request_info", "get_history"}
    assert 0.2 < np.mean([kind != "execute_code" for kind in kinds]) < 0.4
    slipped = {run(attempt.slipped) for attempt in attempts}
    assert 0.25 < np.mean([reply in slipped for reply in replies]) < 0.45
