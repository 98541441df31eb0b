"""Every competition of the suite, prepared and opened: format, splits, leaks, determinism."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agent.competitions.folder import describe, prepare_competition
from agent.competitions.halves import split_halves
from agent.competitions.loading import brief, load_competition
from agent.competitions.metrics import METRICS
from agent.competitions.preparation import assemble, generator, split_rows
from agent.competitions.problems import load_problem
from agent.competitions.suite import CELLS, GROUPS, SUITE, Entry, find_entry, listing

ROOT = Path(__file__).parent.parent
LEADERBOARDS = ROOT / "config/leaderboards"
ENTRIES = list(SUITE.values())
PUBLIC = ["description.txt", "sample_submission.csv", "test.csv", "train.csv"]
PRIVATE = [
    "feedback_answer.csv",
    "final_answer.csv",
    "private_leaderboard.csv",
    "public_leaderboard.csv",
    "test_answer.csv",
]


def prepare(entry: Entry, folder: Path) -> Path:
    prepare_competition(entry, LEADERBOARDS / f"{entry.name}.csv", folder / entry.name)
    return folder / entry.name


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("competitions")
    return {entry.name: prepare(entry, folder) for entry in ENTRIES}


def read(folder: Path, name: str) -> pd.DataFrame:
    """A table without the mark that private ones carry."""
    table = pd.read_csv(next(folder.glob(f"data/*/{name}")))
    return table.drop(columns="canary", errors="ignore")


def every(names=tuple(SUITE)):
    return pytest.mark.parametrize("name", names)


def test_every_private_file_carries_the_mark_of_its_competition_in_every_line(prepared):
    marks = set()
    for name, folder in prepared.items():
        mark = load_competition(folder, "feedback").canary
        marks.add(mark)
        for private in PRIVATE:
            lines = (folder / "data/private" / private).read_text().splitlines()[1:]
            assert lines and all(line.endswith(f",{mark}") for line in lines), (name, private)
        public = [path.read_text() for path in (folder / "data/public").iterdir()]
        assert not any("canary" in text for text in public)
    assert len(marks) == len(prepared)


def test_the_listing_in_config_names_exactly_this_suite():
    written = pd.read_csv(ROOT / "config/competitions.tsv", sep="\t")
    pd.testing.assert_frame_equal(written, listing())
    assert {path.stem for path in LEADERBOARDS.glob("*.csv")} == set(SUITE)


def test_no_data_set_is_in_two_groups_and_all_are_used():
    members = [data_set for group in GROUPS.values() for data_set in group]
    assert len(members) == len(set(members)) >= 20
    assert {entry.data_set for entry in ENTRIES} == set(members)


def test_every_cell_judged_was_trained_on_several_data_sets():
    for metric, condition in CELLS:
        cell = [e for e in ENTRIES if (e.metric, e.condition) == (metric, condition)]
        trained = {e.data_set for e in cell if e.group == "train"}
        assert len(trained) >= 2, (metric, condition)


def test_an_unknown_competition_is_named_with_a_remedy():
    with pytest.raises(ValueError, match=r"'titanic' is not in the suite: .*competitions\.tsv"):
        find_entry("titanic")


@every()
def test_the_folder_has_mle_dojos_files_and_their_checksums(prepared, name):
    folder = prepared[name]
    assert sorted(p.name for p in (folder / "data/public").iterdir()) == PUBLIC
    assert sorted(p.name for p in (folder / "data/private").iterdir()) == PRIVATE
    facts = json.loads((folder / "competition.json").read_text())
    assert len(facts["files"]) == len(PUBLIC) + len(PRIVATE)
    assert facts["name"] == name
    assert (facts["train_rows"], facts["test_rows"]) == tuple(
        len(read(folder, f"{side}.csv")) for side in ("train", "test")
    )


@every()
def test_sizes_keep_programs_fast(prepared, name):
    assert len(read(prepared[name], "train.csv")) <= 300
    assert len(read(prepared[name], "test.csv")) <= 500


@every()
def test_halves_are_disjoint_and_complete(prepared, name):
    folder = prepared[name]
    feedback, final = (read(folder, f"{half}_answer.csv") for half in ("feedback", "final"))
    assert not set(feedback["id"]) & set(final["id"])
    both = pd.concat([feedback, final]).sort_values("id").reset_index(drop=True)
    pd.testing.assert_frame_equal(both, read(folder, "test_answer.csv"))
    assert both["id"].tolist() == read(folder, "test.csv")["id"].tolist()
    assert abs(len(feedback) - len(final)) <= 0.1 * len(both)


@every()
def test_leaderboards_are_sorted_best_first(prepared, name):
    for half, board in (("feedback", "public"), ("final", "private")):
        table = read(prepared[name], f"{board}_leaderboard.csv")
        assert list(table.columns) == ["rank", "score"]
        assert table["rank"].tolist() == list(range(1, len(table) + 1))
        worse = -1 if METRICS[SUITE[name].metric].higher_is_better else 1
        assert (worse * np.diff(table["score"]) >= 0).all()
        pool = pd.read_csv(LEADERBOARDS / f"{name}.csv")[half]
        assert sorted(table["score"]) == pytest.approx(sorted(pool), rel=1e-9)
        assert len(table) >= 130


@every()
def test_no_column_of_the_test_is_the_answer(prepared, name):
    folder = prepared[name]
    train, test = read(folder, "train.csv"), read(folder, "test.csv")
    answers = read(folder, "test_answer.csv")["target"]
    assert list(train.columns) == [*test.columns, "target"]
    for column in test.columns.drop("id"):
        if SUITE[name].task_type == "regression":
            assert np.isclose(test[column], answers).mean() < 0.5, column
        else:  # no column is the class under other names
            pairs = pd.DataFrame({"value": test[column], "answer": answers}).drop_duplicates()
            assert len(pairs) > answers.nunique() or test[column].nunique() == 1, column


@every()
def test_rows_of_the_test_are_not_rows_of_the_training(prepared, name):
    folder = prepared[name]
    train, test = read(folder, "train.csv"), read(folder, "test.csv")
    assert not set(train["id"]) & set(test["id"])


@every()
def test_the_sample_submission_is_valid_and_constant(prepared, name):
    folder = prepared[name]
    sample = read(folder, "sample_submission.csv")
    assert sample["id"].tolist() == read(folder, "test.csv")["id"].tolist()
    assert (sample.drop(columns="id").nunique() == 1).all()
    metric = METRICS[SUITE[name].metric]
    for half in ("feedback", "final"):
        answers = read(folder, f"{half}_answer.csv")
        asked = sample[sample["id"].isin(answers["id"])]
        metric.validate(asked, answers)
        assert np.isfinite(metric.evaluate(answers, asked))


@every()
def test_the_true_answers_win(prepared, name):
    competition = load_competition(prepared[name], "final")
    metric, answers = competition.metric, competition.answers
    perfect = answers[["id"]].copy()
    if METRICS[metric.name].prediction == "probabilities":
        classes = load_problem(SUITE[name].problem).classes
        for label in range(classes):
            perfect[f"p{label}"] = (answers["target"] == label).astype(float)
    else:
        floor = 1e-9 if METRICS[metric.name].prediction == "positive" else -np.inf
        perfect["target"] = answers["target"].clip(lower=floor)
    metric.validate(perfect, answers)
    value = metric.evaluate(answers, perfect)
    best = competition.leaderboards[0][0]
    assert value >= best if metric.higher_is_better else value <= best + 1e-6


@every()
def test_the_brief_states_task_metric_condition_and_format(prepared, name):
    description = (prepared[name] / "data/public/description.txt").read_text()
    lines = brief(description).splitlines()
    keys = [line.split(":")[0] for line in lines]
    assert lines[0].startswith("# ")
    wanted = ["task", "metric", "condition", "order", "rows", "columns", "submission"]
    assert keys[1:] == [key for key in wanted if key in keys]
    assert {"task", "metric", "condition", "rows", "columns", "submission"} <= set(keys)
    rest = description.split("\n\n", 1)[1]
    assert "source: " in rest and "copyright: " in rest
    header = (prepared[name] / "data/public/sample_submission.csv").read_text().splitlines()[0]
    assert lines[-1].startswith(f"submission: {header} (")


def test_equal_facts_are_told_in_equal_lines():
    lines = {}
    for entry in ENTRIES:
        facts = brief(describe(entry, assemble(entry))).splitlines()
        lines.setdefault(("metric", entry.metric), set()).add(facts[2])
        lines.setdefault(("condition", entry.condition), set()).add(facts[3])
    assert all(len(told) == 1 for told in lines.values())
    told = [line for same in lines.values() for line in same]
    assert len(set(told)) == len(told)


def test_preparing_twice_gives_identical_bytes(prepared, tmp_path):
    for entry in ENTRIES[::4]:
        again = prepare(entry, tmp_path)
        for path in sorted(p for p in again.rglob("*") if p.is_file()):
            first = prepared[entry.name] / path.relative_to(again)
            assert path.read_bytes() == first.read_bytes(), path


def test_preparing_over_an_old_folder_replaces_it_whole(tmp_path):
    old = tmp_path / ENTRIES[0].name
    old.mkdir()
    (old / "left_over.txt").write_text("x")
    prepare(ENTRIES[0], tmp_path)
    assert not (old / "left_over.txt").exists()
    assert [p.name for p in tmp_path.iterdir()] == [ENTRIES[0].name]


def test_a_missing_leaderboard_leaves_nothing_behind(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv: no leaderboard; build it"):
        prepare_competition(ENTRIES[0], tmp_path / "none.csv", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


GROUPED = tuple(e.name for e in ENTRIES if load_problem(e.problem).groups is not None)


def test_data_sets_with_several_rows_a_person_are_grouped():
    assert {SUITE[name].data_set for name in GROUPED} == {"randhie", "modechoice"}


@every(GROUPED)
def test_no_person_is_on_two_sides_of_a_split(name):
    problem = load_problem(SUITE[name].problem)
    train, test = split_rows(problem, generator(name, "split"))
    is_final = split_halves(problem, test, generator(name, "halves"))
    members = [set(problem.groups[rows]) for rows in (train, test[is_final], test[~is_final])]
    assert not members[0] & members[1] | members[0] & members[2] | members[1] & members[2]


def test_randhie_persons_are_runs_of_equal_rows_of_three_or_five_years():
    problem = load_problem("randhie")
    lengths = np.bincount(np.unique(problem.groups, return_inverse=True)[1])
    assert np.isin(lengths, [3, 5]).mean() > 0.8
    first = problem.features.groupby(problem.groups).transform("first")
    assert (problem.features == first).all(axis=None)


ORDERED = tuple(e.name for e in ENTRIES if load_problem(e.problem).ordered)


@every(ORDERED)
def test_series_are_trained_strictly_before_they_are_tested(name):
    problem = load_problem(SUITE[name].problem)
    train, test = split_rows(problem, generator(name, "split"))
    assert train.max() < test.min()
    assert (np.diff(train) > 0).all() and (np.diff(test) > 0).all()


@every(tuple(n for n in ORDERED if "lag1" in load_problem(SUITE[n].problem).features))
def test_no_answer_of_a_series_is_a_feature_of_another_test_row(name):
    """Lags are odd; that a row's lag3 is the row before's lag1 shows that rows are two apart."""
    problem = load_problem(SUITE[name].problem)
    asked = problem.features[problem.held_back]
    steps = [int(column.removeprefix("lag")) for column in asked.filter(regex="^lag")]
    assert all(step % 2 == 1 for step in steps)
    np.testing.assert_array_equal(asked["lag3"][1:], asked["lag1"][:-1])


def test_each_half_opens_only_its_own_files(prepared, tmp_path):
    entry = ENTRIES[0]
    folder = prepare(entry, tmp_path)
    for other in ("final_answer.csv", "private_leaderboard.csv", "test_answer.csv"):
        (folder / "data/private" / other).unlink()
    feedback = load_competition(folder, "feedback")
    assert feedback.half == "feedback"
    assert feedback.answers.equals(read(prepared[entry.name], "feedback_answer.csv"))
    with pytest.raises(FileNotFoundError, match=r"final_answer\.csv: missing .* prepare it again"):
        load_competition(folder, "final")


@pytest.mark.parametrize("file", ["train.csv", "description.txt", "public_leaderboard.csv"])
def test_a_changed_file_is_refused_by_name(tmp_path, file):
    folder = prepare(ENTRIES[0], tmp_path)
    path = next(folder.glob(f"data/*/{file}"))
    path.write_text(path.read_text() + "\n")
    with pytest.raises(ValueError, match=f"{file}: checksum differs .* prepare it again"):
        load_competition(folder, "feedback")


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"competition\.json: missing .* prepare it again"):
        load_competition(tmp_path / "nowhere", "feedback")


def test_opening_gives_what_the_agent_and_the_grader_need(prepared):
    for name, folder in prepared.items():
        competition = load_competition(folder, "feedback")
        entry = SUITE[name]
        assert (competition.group, competition.data_set) == (entry.group, entry.data_set)
        assert competition.metric.name == entry.metric
        assert competition.test_ids.tolist() == read(folder, "test.csv")["id"].tolist()
        assert len(competition.leaderboards[0]) == len(read(folder, "public_leaderboard.csv"))
