"""Figures: every script writes three files, the same bytes every time, and nothing of the day."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from docutils.core import publish_doctree
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text
from synthetic_study import ITERATIONS, synthetic_metrics, synthetic_scores, write_study

from agent.evaluation import captions
from agent.evaluation.comparison import compare_competitions, compare_policies
from agent.evaluation.cost_figures import COST_METRICS, cost_against_score, spent_before
from agent.evaluation.figures import COLUMN, FigureFiles, house_style, save_figure, spread
from agent.evaluation.inputs import ACTIONS, read_scores, read_training_metrics, read_turns
from agent.evaluation.process_figures import (
    TRAINING_METRICS,
    action_mix,
    rule_totals,
    shares,
    time_split,
    training_metrics,
)
from agent.evaluation.score_figures import (
    competition_changes,
    final_episode_scores,
    held_out_curve,
    learning_curves,
    mean_of_runs,
    performance_profiles,
    score_distributions,
)
from agent.evaluation.time_split import read_timings, split_time

ROOT = Path(__file__).parents[1]
CAPTIONS = sorted((ROOT / "workflow" / "report").glob("*.rst"))
FIGURES = (
    "learning_curves",
    "competition_changes",
    "performance_profiles",
    "score_distributions",
    "cost_against_score",
    "action_mix",
    "training_metrics",
    "time_split",
)
RESAMPLES = 100


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, seed=0)
    return folder


@pytest.fixture(scope="module")
def draw(study: Path) -> Callable[[str], Figure]:
    """Draws the figure of a name anew from tables read once."""
    scores = read_scores(study / "scores.csv")
    files = sorted(study.rglob("metrics.json"))
    metrics = read_training_metrics(files, (*TRAINING_METRICS, *COST_METRICS))
    statistics = compare_policies(scores, RESAMPLES, seed=0)
    competitions = compare_competitions(scores, RESAMPLES, seed=0)
    timings = split_time(read_timings([study / "timing"]), cores=2)[0]
    turns = read_turns(study / "turns.csv")
    figures = {
        "learning_curves": lambda: learning_curves(
            scores, seen_by(metrics, 0), RESAMPLES, 0, "halves", "halves"
        ),
        "competition_changes": lambda: competition_changes(competitions),
        "performance_profiles": lambda: performance_profiles(scores, statistics, RESAMPLES, seed=0),
        "score_distributions": lambda: score_distributions(scores),
        "cost_against_score": lambda: cost_against_score(scores, metrics, RESAMPLES, seed=0),
        "action_mix": lambda: action_mix(turns),
        "training_metrics": lambda: training_metrics(metrics),
        "time_split": lambda: time_split(timings),
    }
    return lambda name: figures[name]()


def seen_by(metrics: pd.DataFrame, staleness: int) -> pd.DataFrame:
    """The metrics with the updates that the policy had seen whose episodes each update read."""
    return metrics.assign(seen=(metrics["iteration"] - 1 - staleness).clip(lower=0))


def save(draw: Callable[[str], Figure], name: str, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    paths = {kind: folder / f"{name}.{kind}" for kind in ("pdf", "svg", "png", "caption")}
    with house_style():
        save_figure(draw(name), "What it shows.", FigureFiles(**paths))
    assert sorted(folder.iterdir()) == sorted(paths.values())
    assert paths["caption"].read_text() == "What it shows.\n"
    return {kind: path.read_bytes() for kind, path in paths.items()}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_files_are_the_same_bytes_every_time(
    draw: Callable[[str], Figure], name: str, tmp_path: Path
) -> None:
    first, again = (save(draw, name, tmp_path / part) for part in ("first", "again"))
    assert first == again
    assert first["pdf"].startswith(b"%PDF") and len(first["pdf"]) > 5000
    assert first["png"].startswith(b"\x89PNG") and len(first["png"]) > 10_000
    assert b"<svg" in first["svg"] and len(first["svg"]) > 10_000
    assert b"/CreationDate" not in first["pdf"] and b"tEXt" not in first["png"]
    assert not re.search(rb"dc:date|\b20[2-9]\d-\d\d-\d\d", first["svg"])


def drawn_texts(figure: Figure) -> list[Text]:
    """All texts but those of ticks outside the axes, which exist and are not drawn."""
    outside = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if not low - 1e-9 <= tick.get_loc() <= high + 1e-9:
                    outside |= {tick.label1, tick.label2}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    return [text for text in texts if text not in outside]


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_and_no_labels_overlap(draw: Callable[[str], Figure], name: str) -> None:
    with house_style():
        figure = draw(name)
        figure.draw_without_rendering()
        page = figure.bbox
        boxes = [text.get_window_extent() for text in drawn_texts(figure)]
    assert len(boxes) > 10
    for box in boxes:
        assert box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1
        assert box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1
    shrunk = [box.shrunk(0.9, 0.8) for box in boxes]
    for index, box in enumerate(shrunk):
        assert not box.count_overlaps(shrunk[index + 1 :])


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_fits_a_column_and_is_readable_at_that_size(
    draw: Callable[[str], Figure], name: str, tmp_path: Path
) -> None:
    with house_style():
        figure = draw(name)
        figure.draw_without_rendering()
    assert figure.get_figwidth() == COLUMN == 3.3 and figure.get_figheight() < 9
    assert min(text.get_fontsize() for text in drawn_texts(figure)) >= 6
    pdf = save(draw, name, tmp_path / "saved")["pdf"]
    assert pdf.count(b"/FontFile2") == pdf.count(b"/CIDFontType2") > 0  # every font is embedded
    assert b"/Type3" not in pdf and b"/Subtype /Image" not in pdf


def test_the_report_shows_a_figure_larger_than_print(
    draw: Callable[[str], Figure], tmp_path: Path
) -> None:
    saved = save(draw, "score_distributions", tmp_path / "saved")
    width = float(re.search(rb'<svg [^>]*?width="([\d.]+)pt"', saved["svg"])[1])
    drawn = re.search(rb'viewBox="0 0 ([\d.]+) ', saved["svg"])[1]
    assert float(drawn) == pytest.approx(3.3 * 72) and width == pytest.approx(1.8 * 3.3 * 72)


def test_house_style_overrides_what_the_user_has_set(
    draw: Callable[[str], Figure], tmp_path: Path
) -> None:
    import matplotlib as mpl

    plain = save(draw, "time_split", tmp_path / "plain")
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 9, "svg.hashsalt": "other"}):
        assert save(draw, "time_split", tmp_path / "changed") == plain


def test_a_script_draws_from_files_what_the_functions_draw(
    study: Path, draw: Callable[[str], Figure], tmp_path: Path
) -> None:
    figure = {kind: tmp_path / f"mix.{kind}" for kind in ("pdf", "svg", "png")}
    files = figure | {"caption": tmp_path / "mix.txt"}
    flags = [part for kind, path in files.items() for part in (f"--{kind}", str(path))]
    script = ROOT / "scripts" / "plot_action_mix.py"
    command = [sys.executable, str(script), "--turns", str(study / "turns.csv"), *flags]
    subprocess.run(command, check=True, cwd=ROOT)
    with house_style():
        expected = tmp_path / "expected"
        assert figure["svg"].read_bytes() == save(draw, "action_mix", expected)["svg"]
    assert "3 training runs (seeds 0, 1, 2)" in files["caption"].read_text()


def test_learning_curve_starts_at_the_base_and_has_one_line_per_run(study: Path) -> None:
    scores = read_scores(study / "scores.csv")
    iterations, curve, each_run = held_out_curve(scores, RESAMPLES, seed=0)
    assert iterations == [0, *ITERATIONS]
    assert each_run.shape == (len(ITERATIONS), 5)
    assert (curve.low <= curve.value).all() and (curve.value <= curve.high).all()


@pytest.mark.parametrize(
    ("staleness", "scoring", "told"),
    [
        (0, ("halves", "halves"), ("on the feedback half: mean", "on the final half")),
        (1, ("halves", "upstream"), ("on the feedback half: mean", "on all answers")),
        (0, ("upstream", "upstream"), ("on all answers: mean", "on all answers")),
    ],
)
def test_training_scores_stand_at_the_policy_that_played_and_say_what_they_count(
    study: Path, staleness: int, scoring: tuple[str, str], told: tuple[str, str]
) -> None:
    files = sorted(study.rglob("metrics.json"))
    metrics = read_training_metrics(files, ("mean_best_position",))
    scores = read_scores(study / "scores.csv")
    drawn = learning_curves(scores, seen_by(metrics, staleness), RESAMPLES, 0, *scoring)
    mean_line = drawn.axes[0].lines[-1]
    assert list(mean_line.get_xdata()) == list(range(ITERATIONS[-1] - staleness))
    first = metrics[metrics["iteration"] <= 1 + staleness]["mean_best_position"].mean()
    assert mean_line.get_ydata()[0] == pytest.approx(first)
    for axes, words in zip(drawn.axes, told, strict=True):
        assert any(words in text.get_text() for text in axes.findobj(Text))


def test_the_script_draws_the_learning_curve_of_a_study_that_plays_with_older_policies(
    study: Path, tmp_path: Path
) -> None:
    paths = {kind: tmp_path / f"curve.{kind}" for kind in ("pdf", "svg", "png", "caption")}
    metrics = sorted(study.rglob("metrics.json"))
    command = [sys.executable, "scripts/plot_learning_curves.py", "--scores", study / "scores.csv"]
    command += ["--training-metrics", *metrics, "--resamples", RESAMPLES, "--seed", 0]
    command += [part for kind, path in paths.items() for part in (f"--{kind}", path)]
    command += ["--staleness", 1, "--told", "halves", "--scoring", "upstream"]
    subprocess.run(list(map(str, command)), check=True, cwd=ROOT)
    seen = seen_by(read_training_metrics(metrics, ("mean_best_position",)), 1)
    drawn = (read_scores(study / "scores.csv"), seen, RESAMPLES, 0, "halves", "upstream")
    expected = save(lambda _: learning_curves(*drawn), "curve", tmp_path / "expected")
    assert paths["svg"].read_bytes() == expected["svg"]


def test_mean_of_runs_has_an_interval_that_holds_it() -> None:
    runs = {0: [0.2, 0.0, 0.5], 1: [0.3, 0.2, 0.5], 2: [0.4, 0.9, 0.5]}
    curve = mean_of_runs(pd.DataFrame(runs, index=pd.Index([1, 2, 3])), RESAMPLES, seed=0)
    reach = 4.302653 * 0.1 / np.sqrt(3)  # Student's t with two degrees of freedom
    assert curve.value == pytest.approx([0.3, 1.1 / 3, 0.5])
    assert curve.low[0] == pytest.approx(0.3 - reach) and curve.high[0] == pytest.approx(
        0.3 + reach
    )
    assert (curve.low[1], curve.high[1]) == (0.0, 1.0)  # no score is beyond
    assert np.isnan(curve.low[2]) and np.isnan(curve.high[2])  # equal runs have no spread


def test_costs_are_summed_over_the_updates_before_a_checkpoint(study: Path) -> None:
    files = sorted(study.rglob("metrics.json"))
    tokens = spent_before(read_training_metrics(files, COST_METRICS), "tokens")
    assert tokens.loc[0].tolist() == [0.0] * 5
    assert tokens.loc[3].tolist() == [27.0, 30.0, 33.0, 36.0, 39.0]
    programs = spent_before(read_training_metrics(files, COST_METRICS), "programs")
    assert programs.loc[2].tolist() == [500.0] * 5


def test_scores_of_single_episodes_are_all_there_once(study: Path) -> None:
    scores = read_scores(study / "scores.csv")
    of_policy = final_episode_scores(scores)
    assert len(of_policy["trained"]) == len(of_policy["base"]) == 5 * 10 * 4
    assert set(of_policy) == set(scores["policy"])
    last = scores[(scores["policy"] == "trained") & (scores["iteration"] == ITERATIONS[-1])]
    held_out = last.loc[last["group"] == "held_out", "score"]
    assert sorted(of_policy["trained"]) == sorted(held_out)


def test_shares_of_every_bar_sum_to_one(study: Path) -> None:
    turns = read_turns(study / "turns.csv")
    table = shares(turns, "iteration", "action", ACTIONS)
    assert table.sum(axis=1).to_numpy() == pytest.approx(np.ones(len(table)))
    counted = (turns.loc[turns["iteration"] == 2, "action"] == "execute_code").mean()
    assert table.loc[2, "execute_code"] == pytest.approx(counted)


def test_an_unknown_action_is_rejected(study: Path, tmp_path: Path) -> None:
    turns = pd.read_csv(study / "turns.csv")
    turns.loc[0, "action"] = "submit"
    turns.to_csv(tmp_path / "turns.csv", index=False)
    with pytest.raises(ValueError, match=r"action must be one of .* got submit"):
        read_turns(tmp_path / "turns.csv")


def test_a_missing_metric_is_named_with_its_file(tmp_path: Path) -> None:
    record = synthetic_metrics(0)[0]
    del record["approx_kl"]
    path = tmp_path / "metrics.json"
    path.write_text(str(record).replace("'", '"'))
    with pytest.raises(ValueError, match=r"metrics\.json: metrics missing: approx_kl"):
        read_training_metrics([path], tuple(TRAINING_METRICS))


def test_what_no_update_measured_is_an_empty_panel(tmp_path: Path) -> None:
    paths = []
    for record in synthetic_metrics(0):
        paths.append(tmp_path / f"{record['seed']}-{record['iteration']}.json")
        paths[-1].write_text(json.dumps(record | {"explained_variance": None}))
    metrics = read_training_metrics(paths, tuple(TRAINING_METRICS))
    assert metrics["explained_variance"].isna().all()
    texts = {axes.get_title(): axes.texts for axes in training_metrics(metrics).axes}
    assert [title for title, said in texts.items() if said] == ["Explained variance"]


def test_small_rules_are_summed_and_no_time_is_lost() -> None:
    rows = [(f"rule{position}", "execute", float(position + 1)) for position in range(30)]
    rows += [("rule0", "collect", 2.0), ("", "idle", 5.0), ("", "workflow", 1.0)]
    table = pd.DataFrame(rows, columns=["rule", "category", "seconds"])
    totals = rule_totals(table)
    assert totals.to_numpy().sum() == pytest.approx(table["seconds"].sum())
    assert "18 other rules" in totals.index and totals.index[0] == "rule29"


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.01, 0.2))
def test_spread_labels_keep_their_order_and_distance(positions: list[float], gap: float) -> None:
    placed = spread(positions, gap)
    in_order = [placed[index] for index in sorted(range(len(placed)), key=lambda i: positions[i])]
    assert all(after - before >= gap - 1e-9 for before, after in zip(in_order, in_order[1:]))  # noqa: B905, RUF007
    assert sum(placed) == pytest.approx(sum(positions), abs=1e-9)


def test_labels_that_do_not_crowd_stay_where_they_are() -> None:
    assert spread([0.9, 0.1, 0.5], 0.1) == [0.9, 0.1, 0.5]


def test_scores_are_drawn_from_held_out_competitions_only(study: Path) -> None:
    competitions = compare_competitions(read_scores(study / "scores.csv"), RESAMPLES, seed=0)
    with house_style():
        axes = competition_changes(competitions).axes[0]
    names = {label.get_text().replace("\n", " ") for label in axes.get_yticklabels()}
    scores = synthetic_scores(0)
    held_out = scores.loc[scores["group"] == "held_out", "competition"]
    assert names == {name.replace("_", " ") for name in held_out}


@pytest.mark.parametrize("caption", CAPTIONS, ids=lambda path: path.stem)
def test_captions_are_valid_text_without_results(caption: Path) -> None:
    static = re.sub(r"^\.\. include::.*$", "", caption.read_text(), flags=re.MULTILINE)
    text = re.sub(r"{{.*?}}", "several", static)
    document = publish_doctree(text, settings_overrides={"halt_level": 2, "report_level": 2})
    assert len(document.astext()) > 100
    assert not re.search(r"\b0?\.\d{2,}", document.astext())


@pytest.mark.parametrize(("number", "shown"), [(30, 30), (51, 30)])
def test_as_many_competitions_are_drawn_as_fit_a_page(number: int, shown: int) -> None:
    """Of 51 the middle is left out; largest gains stay on top, and the caption says so."""
    gains = np.linspace(-0.4, 0.4, number)
    table = pd.DataFrame(
        {"competition": [f"c{at:02}" for at in range(number)], "base": 0.5, "trained": 0.5 + gains}
    ).assign(group="held_out", gain=gains, low=gains - 0.1, high=gains + 0.1)
    with house_style():
        figure = competition_changes(table)
        figure.draw_without_rendering()
    assert figure.get_figheight() < 0.8 * 9.5  # what the paper gives a figure
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    half, last = shown // 2, number - 1
    assert names == [f"c{at:02}" for at in (*range(half), *range(last - half + 1, last + 1))]
    caption = captions.competition_changes(table.assign(n_runs_base=3, n_runs_trained=3), 50)
    assert ("15 with the largest gain" in caption) == (number > shown)
