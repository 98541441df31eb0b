"""What a study will cost: sums and chains by hand, and the command on real configurations."""

import re
import subprocess
import sys
from itertools import pairwise, permutations
from pathlib import Path

import pytest
import yaml
from checkout import ROOT, SMOKE, configure, copy_repository
from hypothesis import given
from hypothesis import strategies as st

from agent.evaluation.costs import Job, expected_seconds, fit, longest_chain, tabulate


def job(rule: str = "play", units: float = 1.0, waits_for: tuple[int, ...] = (), **facts) -> Job:
    given = {"threads": 2, "gpus": 0, "memory_mb": 4000.0, "asked_seconds": 600.0, "disk_mb": 50.0}
    return Job(rule, units, waits_for=waits_for, **given | facts)


def test_a_line_is_found_again():
    measured = [job(units=u, seconds=20.0 + 3.0 * u, peak_mb=u, written_mb=8.0) for u in (5, 40)]
    estimate = fit(measured)["play"]
    assert (estimate.start, estimate.per_unit) == pytest.approx((20.0, 3.0))
    assert (estimate.peak_mb, estimate.written_mb, estimate.jobs) == (40, 8.0, 2)
    assert estimate.seconds(job(units=100)) == pytest.approx(320.0)


def test_jobs_of_one_size_are_scaled_by_it_and_no_start_is_negative():
    same = fit([job(units=10, seconds=s) for s in (90.0, 110.0)])["play"]
    assert same.seconds(job(units=20)) == pytest.approx(200.0)
    steep = fit([job(units=u, seconds=u**2) for u in (1.0, 10.0)])["play"]
    assert steep.start == 0.0 and steep.per_unit > 0


def test_what_was_never_measured_counts_with_what_it_asks_for():
    jobs = [job("play", units=4), job("train", gpus=8, threads=32, asked_seconds=7200.0)]
    estimates = fit([job("play", units=2, seconds=30.0, peak_mb=1000.0, written_mb=2000.0)])
    assert expected_seconds(jobs, estimates) == pytest.approx([60.0, 7200.0])
    table = tabulate([*jobs, jobs[0]], estimates).set_index("rule")
    assert list(table.index) == ["train", "play"]
    assert table.loc["train", "basis"] == "as asked, at most"
    assert table.loc["train", ["gpu_hours", "core_hours", "disk_gb"]].tolist() == [16, 64, 0.05]
    assert table.loc["play", "basis"] == "1 measured"
    play = table.loc["play", ["jobs", "core_hours", "memory_gb", "disk_gb"]].tolist()
    assert play == pytest.approx([2, 2 * 2 * 60 / 3600, 1.0, 4.0])


@given(st.lists(st.tuples(st.integers(1, 9), st.lists(st.integers(0, 5))), min_size=1, max_size=6))
def test_the_longest_chain_is_the_longest_of_all_paths(drawn):
    seconds = [float(length) for length, _ in drawn]
    before = [tuple({b for b in others if b < i}) for i, (_, others) in enumerate(drawn)]
    jobs = [job(waits_for=waits) for waits in before]
    paths = [
        path
        for size in range(1, len(jobs) + 1)
        for path in permutations(range(len(jobs)), size)
        if all(a in before[b] for a, b in pairwise(path))
    ]
    expected = max(sum(seconds[i] for i in path) for path in paths)
    assert longest_chain(jobs, seconds) == expected


def test_nothing_takes_no_time():
    assert longest_chain([], []) == 0.0


def plan(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "workflow/plan.py", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_benchmarks_study_is_planned_with_all_its_competitions():
    lines = plan(ROOT, "config/qwen7b.yaml").splitlines()
    rows = {line.split()[0]: line.split() for line in lines[1:-1]}
    assert rows["prepare_mle_dojo_competition"][1] == "202" and rows["train_rl"][1] == "30"
    assert "all" not in rows and {" ".join(row[-4:]) for row in rows.values()} == {
        "as asked, at most"
    }
    gpu_hours = sum(float(row[7].replace(",", "")) for row in rows.values())
    said = re.fullmatch(
        r"plan of .*: (\d+) jobs, .* core-hours, ([\d,.]+) GPU-hours, .*", lines[-1]
    )
    assert said and float(said[2].replace(",", "")) == pytest.approx(gpu_hours, abs=0.1)
    assert int(said[1]) == sum(int(row[1]) for row in rows.values())


def test_a_study_of_two_files_is_planned_as_the_last_one_says() -> None:
    files = ["config/qwen7b.yaml", "config/qwen7b_one_gpu.yaml"]
    header, *rows, last = plan(ROOT, *files).splitlines()
    (row,) = [row.split() for row in rows if row.split()[0] == "train_rl"]
    asked = dict(zip(header.split(), row, strict=False))
    update = yaml.safe_load((ROOT / files[1]).read_text())["resources"]["update"]
    assert (asked["jobs"], asked["gpus"], asked["cores"]) == ("30", "1", str(update["threads"]))
    assert float(asked["disk_gb"].replace(",", "")) == 30 * update["disk_mb"] / 1000
    assert last.startswith(f"plan of {' '.join(files)}: ")


def test_measured_jobs_tell_of_the_others(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    benchmarks = folder / "results/smoke/benchmarks/seed0/iteration1"
    benchmarks.mkdir(parents=True)
    (benchmarks / "shard0.tsv").write_text("s\th:m:s\tmax_rss\n1800.0\t0:30:00\t1500.0\n")
    own = plan(folder, str(SMOKE))
    row = next(line for line in own.splitlines() if "generate_trajectories" in line).split()
    assert row[-2:] == ["1", "measured"] and row[4:6] == ["1.5", "0.5"]
    larger = folder / "larger.yaml"
    larger.write_text((folder / SMOKE).read_text().replace("study: smoke", "study: larger"))
    text = larger.read_text()
    episodes = re.search(r"  episodes: (\d+)\n  shards", text)
    assert episodes is not None
    twice = text.replace(episodes[0], f"  episodes: {2 * int(episodes[1])}\n  shards")
    larger.write_text(twice)
    other = plan(folder, str(larger), "--measured", str(SMOKE))
    row = next(line for line in other.splitlines() if "generate_trajectories" in line).split()
    assert row[5] == "1.0" and row[-2:] == ["1", "measured"]


def test_jobs_are_listed_with_what_they_ask_for_on_all_nodes_and_within_the_profile(
    tmp_path: Path,
) -> None:
    folder = copy_repository(tmp_path)
    configure(folder, "update.nodes", 2)
    configure(folder, "resources.update.gpu", 1)
    profile = yaml.safe_load((folder / "slurm/config.yaml").read_text())
    profile["resources"]["gpu_runtime"] = 6
    (folder / "slurm/config.yaml").write_text(yaml.safe_dump(profile))
    asked = "2 cores, 2 GPUs, 4,000 MB of memory, 20 MB of disk"
    for options, minutes in (["--jobs"], 10), (["--jobs", "--profile", "slurm"], 6):
        lines = plan(folder, str(SMOKE), *options).splitlines()
        assert f"train_rl 0 1: {asked}, {minutes}.0 of {minutes} minutes" in lines
        hours = round(2 * 2 * minutes / 60, 1)
        assert f", {hours} GPU-hours, " in lines[-1]


def test_imitation_learns_from_fewer_episodes_and_without_a_critic(tmp_path: Path) -> None:
    """Of 16 episodes PPO reads each with two models; four competitions' best is one each."""
    folder = copy_repository(tmp_path)
    configure(folder, "training.rft_iterations", 1)
    configure(folder, "rft.best_per_competition", 1)
    configure(folder, "rft.epochs", 3)
    configure(folder, "variants", {"critic_free": {"ppo": {"advantage": "grpo", "epochs": 1}}})
    benchmarks = folder / "results/smoke/benchmarks/seed0/iteration1"
    benchmarks.mkdir(parents=True)
    (benchmarks / "train_rl.tsv").write_text("s\th:m:s\tmax_rss\n360.0\t0:06:00\t900.0\n")
    lines = plan(folder, str(SMOKE), "--jobs").splitlines()
    minutes = {
        line.split(":")[0]: float(line.rpartition(", ")[2].split()[0])
        for line in lines
        if line.startswith("train_rl ")
    }
    imitating = minutes["train_rl 0 1"]
    assert imitating == 6.0
    assert minutes["train_rl 0 2"] == pytest.approx(6 * 16 * 2 / (4 * 3), abs=0.05)
    assert minutes["train_rl critic_free 0 2"] == pytest.approx(6 * 16 / (4 * 3), abs=0.05)
