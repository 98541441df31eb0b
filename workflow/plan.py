"""What a study will cost before anything of it runs: jobs, core-hours, GPU-hours, memory, disk.

    python workflow/plan.py config/qwen7b.yaml
    python workflow/plan.py config/qwen7b.yaml config/qwen7b_one_gpu.yaml
    python workflow/plan.py config/qwen7b.yaml --profile slurm --jobs
    python workflow/plan.py config/qwen7b.yaml --measured config/pilot.yaml

Jobs that were measured (`benchmark:` files of the same study, or of a smaller one that was run)
say how long the others take; without any, a job counts with all the time it asks for.
"""

import argparse
import contextlib
import io
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from snakemake.api import SnakemakeApi
from snakemake.cli import parse_args
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
)

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "workflow/rules")]

from variations import SEPARATOR, variants  # noqa: E402

from agent.evaluation.costs import (  # noqa: E402
    Job,
    expected_seconds,
    fit,
    longest_chain,
    tabulate,
)

PLENTY = 1_000_000  # cores, so that no job gets fewer threads than it asks for


def read_jobs(configs: list[Path], resources: ResourceSettings) -> tuple[list[Job], list[Job]]:
    """All jobs of a study, and those of them that are still to run; the last file wins."""
    files = [ROOT / "config/config.yaml", *configs]
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, dryrun=True)) as api:
        workflow = api.workflow(
            resource_settings=resources,
            config_settings=ConfigSettings(configfiles=files),
            snakefile=ROOT / "Snakefile",
        )
        with contextlib.redirect_stdout(io.StringIO()):  # the graph itself; it is made on the way
            workflow.dag(dag_settings=DAGSettings()).printrulegraph()
        dag = workflow._workflow.dag
        settings = workflow._workflow.config
        real = [job for job in dag.jobs if not job.is_norun]  # `all` only gathers
        number = {job: index for index, job in enumerate(real)}
        jobs = [
            _job(job, settings, tuple(sorted(number[one] for one in dag.dependencies[job])))
            for job in real
        ]
        to_run = sorted(number[job] for job in dag.needrun_jobs() if job in number)
    return jobs, _only(jobs, to_run)


def resources_of(profile: str | None) -> ResourceSettings:
    """The caps of a profile, and what it sets for rules; all say themselves what they need."""
    if profile is None:
        return ResourceSettings(cores=PLENTY)
    _, given = parse_args(["--profile", profile])
    return ResourceSettings(
        cores=PLENTY,
        resources=given.resources,
        overwrite_threads=given.set_threads,
        overwrite_resources=given.set_resources,
    )


def _only(jobs: list[Job], numbers: list[int]) -> list[Job]:
    """Some of the jobs, waiting for each other alone; the rest is done."""
    place = {number: index for index, number in enumerate(numbers)}
    return [
        replace(
            jobs[number], waits_for=tuple(place[n] for n in jobs[number].waits_for if n in place)
        )
        for number in numbers
    ]


def _job(job: Any, config: dict[str, Any], waits_for: tuple[int, ...]) -> Job:
    asked, measured = job.resources, _measured(job)
    nodes, each = asked.get("nodes", 1), asked.get("gres", "").rpartition(":")[2]
    variant, _, rule = job.rule.name.rpartition(SEPARATOR)
    return Job(
        rule=rule,
        units=_units(job, config),
        threads=nodes * job.threads,
        gpus=nodes * int(each) if each else asked.get("gpu", 0),
        memory_mb=nodes * float(asked.get("mem_mb", 0)),
        asked_seconds=60.0 * asked.get("runtime", 0),
        disk_mb=float(asked.get("disk_mb", 0)),
        waits_for=waits_for,
        wildcards=" ".join([variant, *map(str, job.wildcards)]).strip(),
        **measured,
    )


def _units(job: Any, config: dict[str, Any]) -> float:
    """Turns at most, of all episodes that the job plays or learns from; 1 if it does neither."""
    variant, separator, rule = job.rule.name.rpartition(SEPARATOR)
    if variant:
        config = variants(config)[variant + separator]
    turns = config["episode"]["max_turns"]
    match rule:
        case "base_model":
            return turns * config["base_model"]["gate_episodes"]
        case "generate_trajectories":
            return turns * job.params.episodes
        case "evaluate" | "evaluate_api_model":
            return turns * job.params.episodes * len(job.params.names.split())
        case "train_rl":
            return turns * _episodes_learnt(job.params.method, config)
        case _:
            return 1.0


def _episodes_learnt(method: str, config: dict[str, Any]) -> float:
    """Once per epoch and per model: PPO may have a critic, imitation is of few episodes."""
    episodes, ppo, rft = config["training"]["episodes"], config["ppo"], config["rft"]
    if method == "ppo":
        return episodes * ppo["epochs"] * (2 if ppo["advantage"] == "gae" else 1)
    groups = pd.read_csv(config["competitions"], sep="\t", comment="#")["group"]
    kept = rft["best_per_competition"] * int((groups == "train").sum())
    return min(episodes, kept) * rft["epochs"]


def _measured(job: Any) -> dict[str, float]:
    """What its benchmark file says, with the size of what it wrote; empty when it never ran."""
    if job.benchmark is None or not Path(job.benchmark).is_file():
        return {}
    table = pd.read_csv(job.benchmark, sep="\t")
    written = sum(_bytes(Path(output)) for output in job.output)
    return {
        "seconds": float(table["s"].mean()),
        "peak_mb": float(table["max_rss"].max()),
        "written_mb": written / 1e6,
    }


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _line(job: Job, seconds: float) -> str:
    name = f"{job.rule} {job.wildcards}".strip()
    asked = f"{job.threads} cores, {job.gpus} GPUs, {job.memory_mb:,.0f} MB of memory"
    asked += f", {job.disk_mb:,.0f} MB of disk"
    return f"{name}: {asked}, {seconds / 60:,.1f} of {job.asked_seconds / 60:,.0f} minutes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", type=Path, nargs="+", help="configuration of the study")
    parser.add_argument("--measured", type=Path, nargs="+", help="that of a study that was run")
    parser.add_argument("--profile", help="Snakemake's, whose caps and resources hold, like slurm")
    parser.add_argument("--jobs", action="store_true", help="every job by itself, too")
    options = parser.parse_args()
    os.chdir(ROOT)
    resources = resources_of(options.profile)
    jobs, to_run = read_jobs(options.configs, resources)
    estimates = fit(read_jobs(options.measured, resources)[0] if options.measured else jobs)
    seconds = expected_seconds(to_run, estimates)
    if options.jobs:
        print("\n".join(map(_line, to_run, seconds)))
    table = tabulate(to_run, estimates)
    shown = table.to_string(index=False, float_format=lambda value: f"{value:,.1f}")
    print(shown if len(table) else "nothing to run")
    hours = longest_chain(to_run, seconds) / 3600
    print(
        f"plan of {' '.join(map(str, options.configs))}: {len(to_run):,} jobs, "
        f"{table['core_hours'].sum():,.1f} core-hours, {table['gpu_hours'].sum():,.1f} GPU-hours, "
        f"{table['disk_gb'].sum():,.1f} GB of disk, at least {hours:,.1f} hours one after the other"
    )


if __name__ == "__main__":
    main()
