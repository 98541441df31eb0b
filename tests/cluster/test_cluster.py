"""Snakemake on a real SLURM: what happens on a cluster happens here, and the study is the same.

Everything is started by the first tests, and goes on while later ones look at what is there.
"""

import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from checkout import ROOT, reproducible_files

from slurm import SMALL, STUDY, call, clone, environment, jobs, queued, running, start, wait

Started = tuple[Path, subprocess.Popen[bytes]]
RESUME = [sys.executable, "scripts/resume.py", "--", "--profile", "slurm", *STUDY]


def test_the_cluster_is_described(report: str) -> None:
    assert "partition standard" in report and "; default" in report
    assert "slurmdbd; your accounts, the default first: root, research" in report
    assert "300 s, enough" in report and "preemption              OFF" in report
    assert "# slurm_account: root or research, if not your default" in report
    assert "a node of partition standard:" in report
    assert "a node of partition accelerated:" in report
    assert report.count("locks between machines  yes") == 2
    assert "sandbox                 namespaces" in report or "landlock" in report


def test_small_jobs_and_the_study_are_started(small: Started, local: Started) -> None:
    assert small[1].poll() is None and local[1].poll() is None


def test_a_cancelled_job_uses_its_last_seconds_and_is_tried_again(small: Started) -> None:
    """Snakemake must notice: with the plugin's own way of asking it would wait for ever."""
    folder, _ = small
    wait((folder / "waits").exists, 120)
    call(folder, "scancel", *running(folder, "rule_cancelled"))
    wait((folder / "cancelled.txt").exists, 120)
    assert (folder / "cancelled.txt").read_text() == "saved\n"


def test_a_requeued_job_starts_again(small: Started) -> None:
    """As after its node died, or when it was preempted."""
    folder, _ = small
    wait((folder / "requeued.once").exists, 60)
    call(folder, "scontrol", "requeue", *running(folder, "rule_requeued"))


def test_a_controller_that_is_told_to_end_ends_its_jobs(tmp_path: Path, site_values: str) -> None:
    folder = clone(tmp_path, site_values)
    controller = submit(folder, *SMALL, "endless.txt")
    wait(lambda: running(folder, "rule_endless"), 120)
    call(folder, "scancel", "--batch", "--signal=INT", controller)
    wait(lambda: not queued(folder), 90)
    (job,) = jobs(folder, "rule_endless")
    assert job.state == "CANCELLED"
    assert not list((folder / ".snakemake").glob("locks/*"))


def test_a_controller_that_is_killed_leaves_jobs_and_a_locked_folder(study: Path) -> None:
    controller = start(study, "snakemake", "--profile", "slurm", *STUDY)
    wait(lambda: running(study, "rule_generate_trajectories"), 1200)
    # On a fast machine they would end before all this is done.
    call(study, "scontrol", "suspend", ",".join(running(study, "rule_")))
    refused = subprocess.run(
        RESUME, cwd=study, env=environment(study), capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert f"Snakemake still works in {study} (process {controller.pid})" in refused.stderr
    controller.send_signal(signal.SIGKILL)
    controller.wait()
    again = start(study, "snakemake", "--profile", "slurm", *STUDY)
    assert again.wait() == 1 and "cannot be locked" in (study / "output.log").read_text()
    assert queued(study, "rule_generate_trajectories")


def test_a_study_goes_on_after_a_kill_and_no_file_has_two_writers(study: Path) -> None:
    left = queued(study)
    controller = submit(study, *STUDY)
    wait(lambda: not queued(study), 1200)
    log = (study / f"results/slurm/controller-{controller}.log").read_text()
    assert left and all(f"{number}" in log.splitlines()[0] for number in left)
    assert log.startswith("waiting for the end of SLURM jobs")
    assert next(job.state for job in jobs(study) if job.number == controller) == "COMPLETED", log
    for what in {job.what for job in jobs(study, "rule_")}:
        for one, next_one in pairwise(jobs(study, what)):
            assert one.ended <= next_one.started, what


def test_results_are_those_of_a_study_without_a_cluster(study: Path, local: Started) -> None:
    folder, running = local
    assert running.wait(1200) == 0, (folder / "output.log").read_text()[-4000:]
    compared = reproducible_files(folder)
    assert {"scores.csv", "turns.csv", "results.tex"} <= {path.name for path in compared}
    assert len(compared) > 25
    for path in compared:
        other = study / path.relative_to(folder)
        assert other.read_bytes() == path.read_bytes(), f"{path.name} differs"


def test_the_study_needs_few_jobs_and_keeps_their_logs(study: Path) -> None:
    groups = {job.what.split("_")[1] for job in jobs(study) if job.minutes != 120}
    assert {"prepare", "analysis"} <= groups
    done = [job for job in jobs(study, "rule_") if job.state == "COMPLETED"]
    assert 22 <= len(done) <= 30
    for job in done:
        assert job.name.startswith("mle-dojo-rl_")
        assert len(list((study / "results/slurm").glob(f"*/**/{job.number}.log"))) == 1
    (*_, last) = sorted((study / "results/slurm").glob("efficiency_report_*.csv"))
    assert "rule_train_rl_wildcards_0_2" in set(pd.read_csv(last)["RuleName"])


def test_a_failing_job_is_tried_as_often_as_configured_with_more_memory(small: Started) -> None:
    """By rules that retry themselves it would be tried nine times, in the memory of the first."""
    folder, controller = small
    assert controller.wait(1200) == 1
    assert (folder / "fails.executions").read_text().split() == ["100", "200", "300"]
    tried = jobs(folder, "rule_fails")
    assert [job.state for job in tried] == ["FAILED"] * 3
    assert [job.allocated["mem"] for job in tried] == ["100M", "200M", "300M"]


def test_a_job_that_took_too_long_is_tried_again_with_more_time(small: Started) -> None:
    first, second = jobs(small[0], "rule_late")
    assert (first.state, first.minutes) == ("TIMEOUT", 1)
    assert (second.state, second.minutes) == ("COMPLETED", 2)


def test_a_job_is_warned_before_its_time_is_over(small: Started) -> None:
    first, second = jobs(small[0], "rule_warned")
    assert first.state == "FAILED" and first.ended - first.started < 150
    assert second.state == "COMPLETED" and second.ended - second.started < 60
    assert (small[0] / "warned.txt").read_text() == "half\n"


def test_cancelled_and_requeued_jobs_ended_well(small: Started) -> None:
    first, second = jobs(small[0], "rule_cancelled")
    assert (first.state, second.state) == ("CANCELLED", "COMPLETED")
    assert (small[0] / "requeued.txt").exists()
    assert {job.state for job in jobs(small[0], "rule_requeued")} == {"COMPLETED"}


def test_two_gpus_run_two_jobs_and_the_third_waits(small: Started) -> None:
    noted = [(small[0] / f"gpu{number}.txt").read_text().split() for number in range(3)]
    first, second, third = sorted((int(start), int(end), gpu) for gpu, start, end in noted)
    assert {first[2], second[2]} == {"0", "1"} and third[2] in "01"
    assert second[0] < first[1] <= third[0]
    sent = jobs(small[0], "rule_gpu")
    assert [job.partition for job in sent] == ["accelerated"] * 3
    assert {job.allocated["gres/gpu"] for job in sent} == {"1"}
    assert {job.partition for job in jobs(small[0], "rule_late")} == {"standard"}


def test_a_job_gets_all_gpus_that_it_asks_for(small: Started) -> None:
    """As an update of several does."""
    folder, _ = small
    call(folder, "snakemake", "--profile", "slurm", *SMALL, "gpus.txt")
    assert (folder / "gpus.txt").read_text() == "0,1\n"
    (job,) = jobs(folder, "rule_all_gpus")
    assert (job.allocated["gres/gpu"], job.allocated["node"]) == ("2", "1")


def test_a_job_costs_seconds_and_a_group_less(
    small: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    """slurm/README.md states what this prints. A job of ten minutes may lose 30 seconds."""
    folder, _ = small
    members = [f"brief{number}.txt" for number in range(1, 9)]
    profile = ["snakemake", "--profile", "slurm", *SMALL]
    call(folder, *profile, "brief0.txt")
    call(folder, *profile, *members, "--groups", "brief=brief", "--group-components", "brief=8")
    alone, group = jobs(folder, "rule_brief")
    began, ended = map(float, (folder / "brief0.txt").read_text().split())
    one = alone.ended - alone.started - (ended - began)
    eight = group.ended - group.started - len(members)
    with capsys.disabled():
        print(
            f"\noverhead of a job: {alone.started - alone.submitted:.0f} s in the queue, "
            f"{began - alone.started:.1f} s before its work, {alone.ended - ended:.1f} s after it; "
            f"of each in a group of eight: {eight / len(members):.1f} s"
        )
    assert one < 30 and eight < 8 * one


def test_the_profile_works_without_accounting(tmp_path: Path, site_values: str) -> None:
    """The last test: it takes SLURM's accounting away."""
    call(tmp_path, f"{ROOT}/tests/cluster/without_accounting.sh")
    folder = clone(tmp_path / "clone", site_values)
    call(folder, "snakemake", "--profile", "slurm", *SMALL, "gpu0.txt", "brief0.txt")
    assert (folder / "gpu0.txt").read_text().startswith("0 ")
    assert (folder / "brief0.txt").exists()
    assert subprocess.run(["sacct"], check=False).returncode != 0


def submit(folder: Path, *options: str) -> str:
    """The number of a job that is Snakemake itself."""
    return call(folder, "scripts/submit_slurm.sh", *options).split()[-1]
