import functools
import gc
import json
import math
import os
import shlex
import sys
from pathlib import Path

import pandas as pd
from configuration import find_missing_vllm, find_problem, prompts_files, with_types
from fingerprint import fingerprint
from snakemake.common import __version__ as SNAKEMAKE_VERSION
from images import FAMILIES, digest, image_file
from snakemake.settings.types import DeploymentMethod
from snakemake.utils import update_config
from variations import changes, variants
from version import code_version

from agent.core.records import updates_seen
from agent.wrappers.vllm_settings import decisive

# Planning makes millions of objects that stay: looking for garbage among them takes a seventh of it.
gc.set_threshold(200_000)
# A variant's configuration was made and checked by the study that it is a variant of.
if "start" not in config:
    update_config(config, with_types(workflow.config_settings.config))
    if problem := find_problem(config, workflow.overwrite_configfiles):
        sys.exit(f"error: {problem}")
DEPLOYMENT = workflow.deployment_settings.deployment_method
if DEPLOYMENT >= {DeploymentMethod.CONDA, DeploymentMethod.APPTAINER}:
    sys.exit("error: --sdm conda apptainer: the containers have no conda: give one of the two")
if DeploymentMethod.APPTAINER in DEPLOYMENT and config["update"]["nodes"] > 1:
    sys.exit("error: update.nodes: --sdm apptainer has no srun to start several nodes with: set 1")

STUDY = f"results/{config['study']}"
# Whose base model runs start from, and whose first episodes: another study's for some variants.
START = config.get("start", STUDY)
STEP = "seed{seed}/iteration{iteration}"
SEEDS = config["seeds"]
ITERATIONS = range(1, config["training"]["iterations"] + 1)
EVALUATED = sorted({0, *config["evaluation"]["curve_iterations"], ITERATIONS[-1]})
SHARDS = range(config["training"]["shards"])
UNIFORM = config["training"]["competition_sampling"] == "uniform"
STALENESS = config["training"]["staleness"]
# Which answers agents are told of, and which judge them.
TOLD, JUDGED_BY = config["environment"]["scoring"], config["evaluation"]["scoring"]
EPISODES_PER_SHARD = config["training"]["episodes"] // len(SHARDS)
PROMPTS = prompts_files(config)
COMPETITIONS = pd.read_csv(config["competitions"], sep="\t", comment="#")
# The embedded ones have a leaderboard here; all others are MLE-Dojo's own.
EMBEDDED = [path.stem for path in Path("config/leaderboards").glob("*.csv")]
BENCHMARK = sorted(set(COMPETITIONS["competition"]) - set(EMBEDDED))
# A study of embedded competitions has no such section, and no use for these rules.
MLE_DOJO = config["mle_dojo"] or dict.fromkeys(
    ("checkout", "repository", "commit", "archives", "drop_leaking_columns"), ""
)
GROUP_OF = COMPETITIONS.set_index("competition")["group"]
COVERAGE = "agent/evaluation/coverage.csv"  # what intervals are worth, as measured
# What judges submissions and is not shown to who makes them: when it changes, what was played stays
# and is graded again.
SCORING = "agent/competitions/metrics.py"
JUDGING = (
    "agent/competitions/halves.py",
    SCORING,
    "agent/core/position.py",
    "agent/wrappers/mledojo_metrics.py",
)
CATALOGUE = pd.read_csv("config/mle_dojo/competitions.csv", index_col="slug")
# What makes the public files: a parameter of the jobs that play and start from them.
PREPARATION = [
    Path(SCORING).read_text().partition("METRICS: ")[2],
    fingerprint("prepare_competition", without=JUDGING),
    fingerprint("prepare_mle_dojo_competition", without=JUDGING) if BENCHMARK else "",
    str(MLE_DOJO["commit"]) if BENCHMARK else "",
    str(MLE_DOJO["drop_leaking_columns"]) if BENCHMARK else "",
    CATALOGUE.loc[BENCHMARK, "source"].to_json() if BENCHMARK else "",
]
# The most that a job may ask for, by the profile's `resources`. Snakemake does not hand those on to a
# job's own Snakemake, but SLURM hands on the environment.
if workflow.is_main_process:
    limits = ("cpu_mem_mb", "cpu_runtime", "gpu_mem_mb", "gpu_runtime")
    most = {name: workflow.global_resources.get(name).value for name in limits}
    os.environ["MLE_DOJO_RL_MOST"] = json.dumps(most)


envvars:
    "MLE_DOJO_RL_MOST",


MOST = json.loads(os.environ["MLE_DOJO_RL_MOST"])


wildcard_constraints:
    competition="[A-Za-z0-9-]+",
    seed=r"\d+",
    iteration=r"\d+",
    shard=r"\d+",
    group="train|validation|held_out",


@functools.cache
def names(group):
    """Competitions of one group, in the order of the table."""
    return COMPETITIONS.loc[COMPETITIONS["group"] == group, "competition"].tolist()


def joined(group):
    """The same as one text: Snakemake would handle every item of a list, in every job."""
    return " ".join(names(group))


@functools.cache
def categories(group):
    """The category of each of the group's competitions, in the same order."""
    return COMPETITIONS.loc[COMPETITIONS["group"] == group, "task_type"].tolist()


def prepared(group):
    return expand("results/competitions/{name}/competition.json", name=names(group))


def catalogue_entry(wildcards):
    """What is known of one of MLE-Dojo's competitions; its job reads no other line of the file."""
    return CATALOGUE.loc[wildcards.competition].to_json()


def archive_option(wildcards):
    """The user's own archive; all competitions that come through DSBench share one."""
    if not MLE_DOJO["archives"]:
        return ""
    through_dsbench = CATALOGUE.loc[wildcards.competition, "source"] == "dsbench"
    name = "dsbench" if through_dsbench else wildcards.competition
    return f"--archive {shlex.quote(str(Path(MLE_DOJO['archives'], f'{name}.zip')))}"


def growing(on="cpu", **amounts):
    """Once as much at first, twice as much when tried again: what ran out may have been this.

    At most what a cluster's profile allows, in resources like `cpu_mem_mb` and `gpu_runtime`.
    """

    def growth(name, amount):
        most = MOST[f"{on}_{name}"] or math.inf
        return lambda wildcards, attempt: min(amount * attempt, most)

    return {name: growth(name, amount) for name, amount in amounts.items()}


# Statistics, tables and figures take seconds.
LIGHT = growing(mem_mb=1000, runtime=4)


def threads_of(job):
    return config["resources"][job]["threads"]


def asked(job):
    """What a scheduler is asked for: GPUs stay as configured, memory and minutes grow."""
    wanted = config["resources"][job]
    most_of = "gpu" if wanted["gpu"] else "cpu"
    grown = growing(most_of, mem_mb=wanted["mem_mb"], runtime=wanted["runtime"])
    placed = place_of_gpus() if wanted["gpu"] else {}
    return {"gpu": wanted["gpu"], "disk_mb": wanted["disk_mb"], **grown, **placed}


def place_of_gpus():
    """What a cluster's profile says of every job, but means for those with a GPU."""
    profile = workflow.resource_settings._parsed_default_resources
    placed = {"mpi_tasks": 0} if "mpi_tasks" in profile else {}
    if "gpu_type" in profile:
        placed["gpu_model"] = str(profile["gpu_type"].raw).strip("'\"")
    return placed


def programs_at_once(wildcards, threads, resources):
    """One more than threads, as while one is graded the next one runs; fewer where memory is scarce.

    What one may take of it, files in memory included, is left to the job itself. Parameters that
    are made of resources run nothing again.
    """
    each = config["sandbox"]["memory_mb"] + config["sandbox"]["scratch_mb"]
    return max(1, min(threads + 1, resources.mem_mb // each - 1))


def helpers_option(wildcards, input):
    """From a function of the input, which Snakemake does not track: where programs run is all the same."""
    return f"--helpers {config['helpers']}" if config["helpers"] else ""


def asked_for_update():
    """As for other jobs, on each of several nodes; the plugin of SLURM calls what starts there MPI.

    It asks for `gpu` wherever they are, with `gres` for as many on every node.
    """
    nodes, wanted = config["update"]["nodes"], asked("update")
    if nodes == 1:
        return wanted
    several = {"nodes": nodes, "tasks": nodes, "tasks_per_gpu": 0, "mpi": "srun"}
    if not wanted["gpu"]:
        return {**wanted, **several}
    each = ":".join(filter(None, ("gpu", wanted.pop("gpu_model", ""), str(wanted["gpu"]))))
    return {**wanted, **several, "gpu": 0, "gres": each}


def gpus_of_update():
    return config["update"]["nodes"] * config["resources"]["update"]["gpu"]


def launcher():
    """What starts the processes of an update: one for each GPU of each node, or one without GPUs."""
    nodes, gpus = config["update"]["nodes"], config["resources"]["update"]["gpu"]
    if nodes == 1 and gpus < 2:
        return "python"
    torchrun = f"python -m torch.distributed.run --nproc-per-node {max(1, gpus)}"
    if nodes == 1:
        return f"{torchrun} --standalone"
    # The job's shell runs on the first node, where the processes are to meet: each job at its own port.
    each = f"--ntasks-per-node=1 --cpus-per-task={threads_of('update')}"
    each += f" --gpus-per-node={gpus}" if gpus else ""
    meeting = "--rdzv-backend c10d --rdzv-id $SLURM_JOB_ID "
    meeting += "--rdzv-endpoint $(hostname):$((20000 + SLURM_JOB_ID % 10000))"
    return f"srun --nodes={nodes} {each} {torchrun} --nnodes {nodes} {meeting}"


def room_for_competition(wildcards):
    """Megabytes for archive, unpacked files and the two halves."""
    download = CATALOGUE.loc[wildcards.competition, "size_mb"]
    return 1000 if pd.isna(download) else 1000 + int(4 * download)


def sections(*keys):
    """Sections of the configuration as inline JSON: what a job reads is also what re-runs it."""
    return json.dumps({key: config[key] for key in keys}, sort_keys=True)


PLAYERS = ("base_model", "generate_trajectories", "evaluate")  # a variant's have its name before


def check_vllm():
    """End before any job when those that play would not find vLLM; in containers only they can."""
    if not DEPLOYMENT:
        if missing := find_missing_vllm(config, workflow.overwrite_configfiles):
            sys.exit(f"error: {missing}")


def settings_of_player(*keys):
    """Parameters of a job that plays: its settings, and what of them runs it again.

    The first come from a function of the input, which Snakemake does not track: where a vLLM server
    is and how long it is waited for changes no result.
    """
    read = (*keys, "sampling", "episode", "environment", "sandbox", "vllm")
    return {
        "settings": lambda wildcards, input: sections(*read),
        "decisive": json.dumps(decisive(json.loads(sections(*read))), sort_keys=True),
    }


def checkpoint(seed, iteration):
    """The policy after `iteration` updates of a run; all runs start from the same base model."""
    if iteration == 0:
        return f"{START}/base_model"
    return f"{STUDY}/seed{seed}/iteration{iteration}/checkpoint"


def image_needed(family):
    """The image of a stage family, an input only where jobs run in containers.

    Its age does not matter: one of other content has another name.
    """
    return ancient(image_file(family)) if DeploymentMethod.APPTAINER in DEPLOYMENT else []


def images_used():
    """Option that names the images of jobs that run in containers."""
    if DeploymentMethod.APPTAINER not in DEPLOYMENT:
        return ""
    return " ".join(["--images", *map(image_file, FAMILIES)])


def figure(name, category):
    """The three files of a figure, of which the SVG goes into the report, and its caption."""
    stem = f"{STUDY}/figures/{name}"
    return {
        "pdf": f"{stem}.pdf",
        "png": f"{stem}.png",
        "caption": f"{stem}.txt",
        "svg": report(
            f"{stem}.svg",
            caption=f"../report/{name}.rst",
            category=category,
            labels={"figure": name.replace("_", " ")},
        ),
    }


def table(name, path):
    return report(path, caption=f"../report/{name}.rst", category="Tables", labels={"table": name})
