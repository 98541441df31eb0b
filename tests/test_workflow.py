"""The workflow: its form, a whole run in miniature, and what an edit runs again."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pandas as pd
import pytest
from api_provider import SAMPLE, answer, served_provider
from checkout import (
    ROOT,
    configure,
    copy_repository,
    jobs_to_run,
    replace_in,
    reproducible_files,
    run,
    snakemake,
)

from agent.core.actions import format_action
from agent.core.model_folder import model_digest
from agent.core.trajectories import read_trajectories

FIGURES = (
    "plot_learning_curves",
    "plot_competition_changes",
    "plot_performance_profiles",
    "plot_score_distributions",
    "plot_cost_against_score",
    "plot_action_mix",
    "plot_training_metrics",
)
COMPARED = {
    "compare_policies",
    "tabulate_results",
    "plot_learning_curves",
    "plot_competition_changes",
    "plot_performance_profiles",
    "plot_cost_against_score",
    "headline",
    "write_provenance",
}
WRITTEN = {"build_paper_kit", "write_first_page"}
QUOTING = WRITTEN | {"write_provenance"}  # what quotes all settings
ANALYSIS = (
    COMPARED
    | WRITTEN
    | {
        "collect_scores",
        *FIGURES,
        "summarise_timing",
        "plot_time_split",
        "tabulate_costs",
        "build_trajectory_browser",
    }
)
TRAIN = ("engel-mae-outliers", "wine-macro-f1-unit-errors")
HELD_OUT = ("breast-cancer-log-loss-irrelevant-columns", "grunfeld-mae-outliers")


def steps(*iterations: int, seed: int = 0) -> set[str]:
    """Playing, updating and evaluating in these iterations of a run; 0 only evaluates."""
    played = ("shard0", "shard1", "train_rl", "evaluate_held_out")
    return grading(*iterations, seed=seed) | {
        f"seed{seed}/iteration{number}/{job}"
        for number in iterations
        for job in (*(played if number else played[-1:]), *on_train(number))
    }


def on_train(iteration: int) -> tuple[str, ...]:
    """Training competitions are evaluated at the beginning and at the end."""
    return () if iteration == 1 else ("evaluate_train",)


def grading(*iterations: int, seed: int = 0) -> set[str]:
    return {
        f"seed{seed}/iteration{number}/{job.replace('evaluate', 'grade')}"
        for number in iterations
        for job in ("evaluate_held_out", *on_train(number))
    }


SHARDS_OF_THE_BASE = {"seed0/iteration1/shard0", "seed0/iteration1/shard1"}
LEARNING = steps(1, 2) - SHARDS_OF_THE_BASE | {"evaluate_yardsticks"} | ANALYSIS
PLAYING = {"base_model", "evaluate_yardsticks"} | steps(0, 1, 2) | ANALYSIS
# Jobs that note what evaluations are played under.
NOTING = {name.replace("grade", "note_conditions") for name in grading(0, 1, 2)}
PREPARING = {
    f"prepare_competition/{name}"
    for name in pd.read_csv(ROOT / "config/smoke_competitions.tsv", sep="\t")["competition"]
}
# What another way of judging runs again: no episode of a policy is among it.
JUDGED = (
    PREPARING | grading(0, 1, 2) | {"evaluate_yardsticks"} | ANALYSIS - {"plot_training_metrics"}
)
Edit = Callable[[Path], None]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which the smoke study has run on two cores."""
    folder = copy_repository(tmp_path_factory.mktemp("study"))
    done = snakemake(folder, "--cores", "2", "--quiet", "rules")
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture
def edited(study: Path, tmp_path: Path) -> Path:
    """A copy of the finished study, to edit."""
    return shutil.copytree(study, tmp_path / "edited", symlinks=True)


def test_the_workflow_passes_its_linter() -> None:
    done = snakemake(ROOT, "--lint")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_is_formatted() -> None:
    done = run(ROOT, "snakefmt", "--check", "Snakefile", "workflow")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_study_as_configured_plans_every_job(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    done = run(folder, "snakemake", "--dry-run", "--cores", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    planned = {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}
    table = pd.read_csv(folder / "config/competitions.tsv", sep="\t")
    assert planned["prepare_competition"] == sum(table["group"] != "validation")
    assert planned["base_model"] == planned["headline"] == planned["all"] == 1


def test_the_study_of_all_of_mle_dojo_plans_every_job(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    config = "config/qwen7b.yaml"
    done = run(folder, "snakemake", "--dry-run", "--cores", "2", "--configfile", config)
    assert done.returncode == 0, done.stderr
    planned = re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE)
    assert dict(planned)["prepare_mle_dojo_competition"] == "202"
    assert dict(planned)["train_rl"] == "30"


def test_a_study_leaves_its_headline_tables_and_figures(study: Path) -> None:
    results = study / "results/smoke"
    headline = json.loads((results / "headline.json").read_text())
    assert headline["n_seeds"] == 1 and headline["n_competitions"] == 3
    numbers = [value for value in headline.values() if isinstance(value, float)]
    unknown = {name for name, value in headline.items() if value is None}
    assert len(numbers) > 10 and {name for name in unknown if "p_value" not in name} == set()
    assert len(unknown) == 2  # one run allows no test
    assert "3 held-out competitions" in (results / "headline.txt").read_text()
    for figure in (*FIGURES, "plot_time_split"):
        for suffix in ("pdf", "png", "svg", "txt"):
            assert (results / f"figures/{figure.removeprefix('plot_')}.{suffix}").stat().st_size
    scores, turns = (pd.read_csv(results / name) for name in ("scores.csv", "turns.csv"))
    trained_on = turns.loc[turns["source"] == "training", ["iteration", "shard", "episode"]]
    episodes = len(scores) + len(trained_on.drop_duplicates())
    assert f"{episodes} episodes" in (results / "logs/build_trajectory_browser.log").read_text()
    held = {
        job: json.loads((results / f"timing/{job}.json").read_text())["cores"]
        for job in ("base_model", "evaluate_yardsticks", "seed0/iteration1/train_rl")
    }
    assert held == {"base_model": 2, "evaluate_yardsticks": 1, "seed0/iteration1/train_rl": 1}
    entities = json.loads((results / "ro-crate-metadata.json").read_text())["@graph"]
    [root] = [entity for entity in entities if entity["@id"] == "./"]
    parts = {part["@id"] for part in root["hasPart"]}
    assert {"turns.csv", "timing/costs.csv", "paper/", "seed0/"} <= parts
    assert [part for part in sorted(parts) if not (results / part).exists()] == []
    loaded = json.loads((results / "provenance.json").read_text())["loaded"]
    assert {"numpy", "pandas", "sklearn", "torch", "verl"} <= set(loaded)
    policies = set(scores["policy"])
    yardsticks = {"base_best_of_n", "best_fixed_program", "dummy", "fixed_portfolio"}
    assert policies == yardsticks | {"base", "random_program", "trained"}


def test_a_finished_study_has_nothing_to_do(study: Path) -> None:
    assert pending(study) == set()


@pytest.fixture(scope="module")
def report(study: Path) -> Path:
    done = snakemake(study, "--report", "report.zip")
    assert done.returncode == 0, done.stderr
    return study / "report.zip"


def test_the_report_is_written(report: Path) -> None:
    assert report.stat().st_size > 10_000
    with ZipFile(report) as archive:
        [page] = [name for name in archive.namelist() if name.endswith("/index.html")]
        folder = page.removesuffix("index.html")
        assert {f"{folder}index.js", f"{folder}episodes/0000.js"} < set(archive.namelist())


def test_the_report_opens_and_every_figure_and_caption_is_there(
    study: Path, report: Path, chromium: Any, tmp_path: Path
) -> None:
    from reporting import (
        CATEGORIES,
        follow_number,
        list_category,
        opened_report,
        read_caption,
        see_figure,
        see_on_a_phone,
        unpack,
    )

    headline = json.loads((study / "results/smoke/headline.json").read_text())
    with opened_report(chromium, unpack(report, tmp_path)) as page:
        first = page.locator("#app").inner_text()
        box = page.get_by_role("heading", name="What the training was worth").bounding_box()
        assert box is not None and 0 <= box["y"] < 200
        assert first.index("What was trained?") < first.index("How is it run again?")
        assert "3 held-out competitions" in first.replace("\n", " ")
        assert "The version of the code is not known" in first  # it is a copy, and no checkout
        for policy in ("base", "trained"):
            assert (
                follow_number(page, f"policy={policy}")["IQM"] == f"{headline[f'iqm_{policy}']:.3f}"
            )
        gain = follow_number(page, "sort=-gain")["in IQM"].replace("\N{MINUS SIGN}", "-")
        assert gain == f"{headline['gain']:+.3f}"
        see_on_a_phone(page)
        listed = {category: list_category(page, category) for category in CATEGORIES}
        assert listed["Episodes"] == ["trajectory browser"]
        assert listed["Provenance"] == ["config.yaml", "provenance.json"]
        assert len(listed["Tables"]) >= 4
        for label, told in (("headline", "episodes behind"), ("results_table", "its episodes")):
            list_category(page, "Tables")
            assert told in read_caption(page, label)
        figures = {name.removeprefix("plot_").replace("_", " ") for name in FIGURES}
        assert {*listed["Results"], *listed["Behaviour"]} == figures | {"time split"}
        for category in ("Results", "Behaviour"):
            for label in listed[category]:
                assert list_category(page, category) == listed[category]
                see_figure(page, label)
                caption = read_caption(page, label)
                assert label == "time split" or "seed 0" in caption or "1 trained run" in caption


def test_the_paper_compiles_with_every_number_reference_and_figure(
    study: Path, tmp_path: Path
) -> None:
    kit = shutil.copytree(study / "results/smoke/paper", tmp_path / "paper")
    if not (shutil.which("pdflatex") and shutil.which("bibtex")):
        pytest.skip("no TeX: install Debian's texlive-latex-recommended")
    latex = ("pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper")
    for command in (latex, ("bibtex", "paper"), latex, latex):
        done = run(kit, *command)
        assert done.returncode == 0, done.stdout[-3000:]
    log = (kit / "paper.log").read_text(errors="replace")
    assert "undefined" not in log and "multiply" not in log
    assert (kit / "paper.pdf").read_bytes().startswith(b"%PDF")
    assert log.count("<use ") >= len(FIGURES)


def test_the_paper_of_a_study_with_variants_has_their_table(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    kit = ("results/ablations/paper", "--configfile", "config/ablations.yaml")
    done = run(folder, "snakemake", "--dry-run", "--printshellcmds", "--cores", "2", *kit)
    assert done.returncode == 0, done.stderr
    [command] = re.findall(r"python scripts/build_paper_kit.py .*", done.stdout)
    assert " results/ablations/tables/variants.tex --output-dir" in command
    assert "rule compare_variants:" in done.stdout


def test_results_do_not_depend_on_the_number_of_cores(study: Path, tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    for prepared in ("competitions", "timing"):
        shutil.copytree(study / "results" / prepared, folder / "results" / prepared)
    done = snakemake(folder, "--cores", "1", "--quiet", "rules")
    assert done.returncode == 0, done.stderr[-4000:]
    compared = reproducible_files(study)
    assert len(compared) > 25
    for path in compared:
        again = folder / path.relative_to(study)
        assert again.read_bytes() == path.read_bytes(), f"{path.name} differs"


def test_no_program_of_a_run_is_executed_twice(study: Path) -> None:
    results = study / "results/smoke"
    files = [
        results / "base_model_executions.parquet",
        *sorted(results.glob("seed0/iteration1/executions/*.parquet")),
        *sorted(results.glob("seed0/iteration2/executions/*.parquet")),
    ]
    base, *shards, third, fourth = (
        set(map(tuple, pd.read_parquet(file)[["program", "public"]].to_numpy())) for file in files
    )
    assert base and third and fourth
    assert not (third | fourth) & base.union(*shards)


def test_a_damaged_shard_fails_one_job_and_nothing_else_is_lost(edited: Path) -> None:
    results = edited / "results/smoke"
    shard = results / "seed0/iteration2/trajectories/shard1.parquet"
    shard.write_bytes(shard.read_bytes()[:-100])
    done = snakemake(edited, "--cores", "2", "--quiet", "all")
    assert done.returncode == 1
    log = (results / "logs/seed0/iteration2/train_rl.log").read_text()
    assert log.splitlines()[-1].startswith(f"error: {shard.relative_to(edited)}: damaged")
    assert (results / "seed0/iteration1/checkpoint/model/model.safetensors").is_file()
    assert (results / "scores.csv").is_file() and (results / "headline.json").is_file()
    assert not (results / "seed0/iteration2/checkpoint").exists()


def test_an_older_policy_plays_while_the_newest_is_trained(edited: Path) -> None:
    """Episodes of the second iteration need no update then, and its update corrects for it."""
    configure(edited, "training.staleness", 1)
    configure(edited, "update.rollout_correction", {"level": "token", "threshold": 2.0})
    steps_of_two = edited / "results/smoke/seed0/iteration2"
    shard, metrics = steps_of_two / "trajectories/shard0.parquet", steps_of_two / "metrics.json"
    planned = snakemake(edited, "--dry-run", str(shard.relative_to(edited))).stdout
    assert "rule generate_trajectories" in planned and "rule train_rl" not in planned
    done = snakemake(edited, "--cores", "2", str(metrics.relative_to(edited)))
    assert done.returncode == 0, done.stderr[-4000:]
    base = model_digest(edited / "results/smoke/base_model")
    assert {played.policy for played in read_trajectories(shard)} == {base}
    assert 0 < json.loads(metrics.read_text())["rollout_weight_sample_size"] < 1


def change(key: str, value: object) -> Edit:
    return lambda folder: configure(folder, key, value)


def edit(name: str, old: str, new: str) -> Edit:
    return lambda folder: replace_in(folder, name, old, new)


def both(one: Edit, other: Edit) -> Edit:
    def apply(folder: Path) -> None:
        one(folder)
        other(folder)

    return apply


def worsen_first_entry(competition: str) -> Edit:
    def apply(folder: Path) -> None:
        path = folder / f"config/leaderboards/{competition}.csv"
        board = pd.read_csv(path)
        board.loc[0, "final"] *= 1.5
        board.to_csv(path, index=False)

    return apply


EDITS: dict[str, tuple[Edit, set[str]]] = {
    "learning rate": (change("ppo.learning_rate", 0.0001), LEARNING),
    "more iterations": (
        change("training.iterations", 3),
        steps(3) | {"evaluate_yardsticks"} | ANALYSIS,
    ),
    "another seed": (
        change("seeds", [0, 1]),
        steps(0, 1, 2, seed=1) | {"evaluate_yardsticks"} | ANALYSIS,
    ),
    "teacher": (change("teacher.mistakes", 0.1), PLAYING),
    "episode": (change("episode.max_turns", 1), PLAYING | NOTING),
    "curriculum": (
        change("training.competition_sampling", "learnability"),
        steps(2) | {"seed0/iteration2/weigh_competitions", "evaluate_yardsticks"} | ANALYSIS,
    ),
    "supervised first": (change("training.rft_iterations", 1), LEARNING),
    "supervised never": (change("rft.learning_rate", 0.002), QUOTING),
    "helpers": (change("helpers", 8), QUOTING),
    "evaluation temperature": (
        change("evaluation.temperature", 0.4),
        {f"seed0/iteration{number}/evaluate_held_out" for number in (0, 1, 2)}
        | {f"seed0/iteration{number}/evaluate_train" for number in (0, 2)}
        | NOTING
        | grading(0, 1, 2)
        | {"evaluate_yardsticks"}
        | ANALYSIS - {"plot_training_metrics"},
    ),
    "resamples": (change("statistics.resamples", 300), COMPARED | WRITTEN),
    "variants": (
        change("variants", {"no_kl": {"ppo": {"kl_coef": 0.0}}}),
        {f"seed0/iteration2/{job}" for job in ("shard0", "shard1", "train_rl")}
        | {f"seed0/iteration2/{job}_held_out" for job in ("evaluate", "grade")}
        | {"seed0/iteration1/train_rl"}
        | QUOTING,  # and compare_variants, which has no name before it has run
    ),
    "reward code": (
        edit("agent/training/rewards.py", "max(0.0, turn", "max(0.1, turn"),
        LEARNING,
    ),
    "update code": (edit("agent/training/ppo.py", "if not shards", "if shards == []"), LEARNING),
    "environment code": (
        edit("agent/core/environment.py", "best_position: float = 0.0", "best_position: float = 0"),
        PLAYING | NOTING | {"collect_scores"},
    ),
    "sandbox code": (  # of its fork server, which is started by a text
        edit("agent/sandbox/zygote.py", "listener.listen(128)", "listener.listen(64)"),
        PLAYING | NOTING,
    ),
    "prompts": (
        edit("agent/core/prompts/compact.yaml", "no submission", "nothing"),
        PLAYING | NOTING,
    ),
    "other prompts": (edit("agent/core/prompts/zero_shot.yaml", "the", "a"), set()),
    "plot": (
        edit("scripts/plot_action_mix.py", "action_mix(table),", "action_mix(table.copy()),"),
        {"plot_action_mix", "build_paper_kit"},
    ),
    "page": (
        edit("agent/browser/page/style.css", "#ffffff", "#fffffe"),
        {"build_trajectory_browser"},
    ),
    "comments": (edit("agent/training/rewards.py", "\n\n\n", "\n\n\n# Why.\n"), set()),
    "held-out leaderboard": (
        worsen_first_entry(HELD_OUT[0]),
        {f"prepare_competition/{HELD_OUT[0]}", "evaluate_yardsticks"}
        | {f"seed0/iteration{number}/grade_held_out" for number in (0, 1, 2)}
        | ANALYSIS - {"plot_training_metrics"},
    ),
    "scoring of evaluations": (
        change("evaluation.scoring", "upstream"),
        grading(0, 1, 2) | {"evaluate_yardsticks"} | ANALYSIS - {"plot_training_metrics"},
    ),
    "metric": (
        edit("agent/competitions/metrics.py", "zero_division=0", "zero_division=1"),
        JUDGED - PREPARING,
    ),
    "normalisation": (
        edit("agent/core/position.py", "- np.count_nonzero(better)", "- np.sum(better)"),
        JUDGED - PREPARING,
    ),
    "held-out leaderboard and temperature": (
        both(worsen_first_entry(HELD_OUT[0]), change("evaluation.temperature", 0.4)),
        {f"prepare_competition/{HELD_OUT[0]}", "evaluate_yardsticks"}
        | {name.replace("grade", "evaluate") for name in grading(0, 1, 2)}
        | NOTING
        | grading(0, 1, 2)
        | ANALYSIS - {"plot_training_metrics"},
    ),
    "training leaderboard": (
        worsen_first_entry(TRAIN[0]),
        {f"prepare_competition/{TRAIN[0]}"} | PLAYING,
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_runs_again_what_depends_on_it_and_nothing_else(edited: Path, name: str) -> None:
    apply, expected = EDITS[name]
    apply(edited)
    assert pending(edited) == expected


NOTED, ASKED, GRADED = (
    f"{job}_api_{what}/large"
    for job, what in (("note", "conditions"), ("evaluate", "model"), ("grade", "model"))
)
# What an edit runs again for a model behind an API, beside what it does anyway.
EDITS_WITH_API_MODEL = {
    "scoring of evaluations": {GRADED},
    "metric": {GRADED},
    "normalisation": {GRADED},
    "held-out leaderboard": {GRADED},
    "evaluation temperature": {NOTED, ASKED, GRADED},
    "learning rate": set(),
}


@pytest.fixture(scope="module")
def with_api_model(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished study after a model behind an API has played, too."""
    folder = tmp_path_factory.mktemp("api") / "study"
    shutil.copytree(study, folder, symlinks=True)
    with served_provider() as provider:
        provider.replies = [(200, {}, answer(format_action("execute_code", SAMPLE)))]
        model = {"name": "large", "url": provider.url, "model": "large-1", "key_variable": None}
        model |= {"token_budget": 10**6, "options": {}, "agent": "ours"}
        configure(folder, "evaluation.api_models", [model])
        assert pending(folder) == {ASKED, GRADED} | ANALYSIS - {"plot_training_metrics"}
        done = snakemake(folder, "--cores", "2", "--quiet", "rules")
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_a_model_behind_an_api_is_in_every_table(study: Path, with_api_model: Path) -> None:
    results = with_api_model / "results/smoke"
    scores = pd.read_csv(results / "scores.csv").query("policy == 'large'")
    assert len(scores) == 6 and (scores["valid_submissions"] == 2).all()
    assert "79 episodes" in (results / "logs/build_trajectory_browser.log").read_text()
    jobs = [
        json.loads((folder / "results/smoke/timing/summary.json").read_text())["jobs"]
        for folder in (study, with_api_model)
    ]
    assert jobs[1] == jobs[0] + 2
    split = pd.read_csv(results / "timing/time_split.csv").query("rule == 'evaluate_api_model'")
    assert {"generate", "execute", "grade"} <= set(split["category"])


@pytest.mark.parametrize("name", EDITS_WITH_API_MODEL)
def test_no_change_of_judging_asks_a_model_behind_an_api_again(
    with_api_model: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(with_api_model, tmp_path / "edited", symlinks=True)
    apply, expected = EDITS[name]
    apply(folder)
    assert pending(folder) == expected | EDITS_WITH_API_MODEL[name]


def test_metrics_of_a_finished_study_are_published_without_running_it_again(edited: Path) -> None:
    configure(edited, "training.wandb_project", "mine")
    done = snakemake(edited, "--cores", "2", "all")
    assert done.returncode == 0, done.stderr[-4000:]
    rules = set(re.findall(r"^(?:local)?rule (\w+):$", done.stderr, re.MULTILINE))
    assert rules == {"publish_metrics", "all"}
    for iteration in (1, 2):
        sent = edited / f"results/smoke/wandb/seed0/iteration{iteration}.json"
        assert json.loads(sent.read_text())["run"] == "smoke-seed0"
    logs = sorted((edited / "results/smoke/wandb/seed0/wandb").glob("offline-run-*/run-*.wandb"))
    metrics = json.loads((edited / "results/smoke/seed0/iteration2/metrics.json").read_text())
    assert any(f"{metrics['explained_variance']}".encode() in log.read_bytes() for log in logs)


def pending(folder: Path) -> set[str]:
    done = snakemake(folder, "--summary")
    assert done.returncode == 0, done.stderr
    return jobs_to_run(done.stdout.splitlines())
