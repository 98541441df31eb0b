import functools
import json
import shlex
import sys
from pathlib import Path

import pandas as pd
from configuration import find_problem, prompts_files, with_types
from fingerprint import fingerprint
from snakemake.common import __version__ as SNAKEMAKE_VERSION
from images import FAMILIES, digest, image_file
from snakemake.settings.types import DeploymentMethod
from snakemake.utils import update_config
from variations import changes, variants

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
# What judges submissions and is not shown to who makes them: when it changes, what was played stays
# and is graded again.
METRICS = "agent/competitions/metrics.py"
JUDGING = (
    "agent/competitions/halves.py",
    METRICS,
    "agent/core/position.py",
    "agent/wrappers/mledojo_metrics.py",
)
# What makes the public files: a parameter of the jobs that play and start from them.
PREPARATION = [
    Path(METRICS).read_text().partition("METRICS: ")[2],
    fingerprint("prepare_competition", without=JUDGING),
    fingerprint("prepare_mle_dojo_competition", without=JUDGING) if BENCHMARK else "",
    str(MLE_DOJO["commit"]),
    str(MLE_DOJO["drop_leaking_columns"]),
]
CATALOGUE = pd.read_csv("config/mle_dojo/competitions.csv", index_col="slug")


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


def archive_option(wildcards):
    """The user's own archive; all competitions that come through DSBench share one."""
    if not MLE_DOJO["archives"]:
        return ""
    through_dsbench = CATALOGUE.loc[wildcards.competition, "source"] == "dsbench"
    name = "dsbench" if through_dsbench else wildcards.competition
    return f"--archive {shlex.quote(str(Path(MLE_DOJO['archives'], f'{name}.zip')))}"


def growing(amount):
    """Once as much at first, twice as much when tried again: what ran out may have been this."""
    return lambda wildcards, attempt: amount * attempt


# Statistics, tables and figures take seconds.
LIGHT = {"mem_mb": growing(1000), "runtime": growing(4)}


def threads_of(job):
    return config["resources"][job]["threads"]


def asked(job):
    """What a scheduler is asked for: GPUs stay as configured, memory and minutes grow."""
    wanted = config["resources"][job]
    grown = {name: growing(wanted[name]) for name in ("mem_mb", "runtime")}
    return {"gpu": wanted["gpu"], "disk_mb": wanted["disk_mb"], **grown}


def asked_for_update():
    """As for other jobs, times the nodes; the plugin of SLURM calls what starts on each of them MPI."""
    nodes, wanted = config["update"]["nodes"], asked("update")
    if nodes == 1:
        return wanted
    several = {"nodes": nodes, "tasks": nodes, "tasks_per_gpu": 0, "mpi": "srun"}
    return {**wanted, **several, "gpu": nodes * wanted["gpu"]}


def launcher():
    """What starts the processes of an update: one for each GPU of each node, or one without GPUs."""
    nodes, gpus = config["update"]["nodes"], config["resources"]["update"]["gpu"]
    if nodes == 1 and gpus < 2:
        return "python"
    torchrun = f"python -m torch.distributed.run --nproc-per-node {max(1, gpus)}"
    if nodes == 1:
        return f"{torchrun} --standalone"
    # The job's shell runs on the first node, where the processes are to meet.
    each = f"--ntasks-per-node=1 --cpus-per-task={threads_of('update')}"
    each += f" --gpus-per-node={gpus}" if gpus else ""
    meeting = "--rdzv-backend c10d --rdzv-id $SLURM_JOB_ID --rdzv-endpoint $(hostname):29400"
    return f"srun --nodes={nodes} {each} {torchrun} --nnodes {nodes} {meeting}"


def room_for_competition(wildcards):
    """Megabytes for archive, unpacked files and the two halves."""
    download = CATALOGUE.loc[wildcards.competition, "size_mb"]
    return 1000 if pd.isna(download) else 1000 + int(4 * download)


def sections(*keys):
    """Sections of the configuration as inline JSON: what a job reads is also what re-runs it."""
    return json.dumps({key: config[key] for key in keys}, sort_keys=True)


def settings_of_api_model(wildcards):
    model = API_MODELS[wildcards.name]
    keys = ("episode", "environment", "sandbox")
    return json.dumps({"api_model": model, **{key: config[key] for key in keys}}, sort_keys=True)


def checkpoint(seed, iteration):
    """The policy after `iteration` updates of a run; all runs start from the same base model."""
    if iteration == 0:
        return f"{START}/base_model"
    return f"{STUDY}/seed{seed}/iteration{iteration}/checkpoint"


def played_in(iteration):
    """The study whose shards an iteration learns from; the base model plays those of the first."""
    return START if int(iteration) == 1 else STUDY


def shards_played(wildcards):
    folder = f"{played_in(wildcards.iteration)}/{STEP}/trajectories".format(**wildcards)
    return [f"{folder}/shard{shard}.parquet" for shard in SHARDS]


def playing_model(wildcards):
    """Who plays the shards of an iteration."""
    return checkpoint(wildcards.seed, int(wildcards.iteration) - 1)


def earlier_executions(wildcards):
    """What a run has executed so far on training competitions, the base model's warm start first."""
    first = f"{START}/base_model_executions.parquet"
    if not config["sandbox"]["remember_programs"]:
        return [first]
    shards = [
        f"{played_in(iteration)}/seed{wildcards.seed}/iteration{iteration}/executions/shard{shard}.parquet"
        for iteration in range(1, int(wildcards.iteration))
        for shard in SHARDS
    ]
    return [first, *shards]


def is_supervised(iteration):
    """Whether an iteration's update is rejection-sampled fine-tuning, as the first ones may be."""
    return iteration <= config["training"]["rft_iterations"]


def starting_model(wildcards):
    """What an update trains when it resumes nothing: to PPO also its reference policy."""
    started = min(int(wildcards.iteration) - 1, config["training"]["rft_iterations"])
    return checkpoint(wildcards.seed, started)


def previous_checkpoint(wildcards):
    """What an update of PPO resumes: nothing if it is the first one."""
    iteration = int(wildcards.iteration)
    first = iteration == 1 or is_supervised(iteration - 1)
    return [] if first else [checkpoint(wildcards.seed, iteration - 1)]


def update_method(wildcards):
    return "rft" if is_supervised(int(wildcards.iteration)) else "ppo"


def update_settings(wildcards):
    read = "rft" if is_supervised(int(wildcards.iteration)) else "rewards"
    return sections(read, "ppo", "update")


def previous_option(wildcards):
    return " ".join(f"--previous {folder}" for folder in previous_checkpoint(wildcards))


def published(seeds, iterations):
    pattern = f"{STUDY}/wandb/seed{{seed}}/iteration{{iteration}}.json"
    return expand(pattern, seed=seeds, iteration=iterations)


def published_before(wildcards):
    """W&B refuses steps that come late, so iterations are sent one after the other."""
    iteration = int(wildcards.iteration)
    return published(wildcards.seed, iteration - 1) if iteration > 1 else []


def folder_of_shards(wildcards, input):
    return Path(input.shards[0]).parent


def is_weighed(iteration):
    """Whether an iteration plays some competitions more than others."""
    sampling = config["training"]["competition_sampling"]
    return sampling == "category" or (sampling == "learnability" and iteration > 1)


def competition_weights(wildcards):
    """How often an iteration plays each competition; nothing where all are played equally often."""
    weighed = is_weighed(int(wildcards.iteration))
    return [f"{STUDY}/{STEP}/competition_weights.tsv".format(**wildcards)] if weighed else []


def weights_option(wildcards):
    return " ".join(f"--competition-weights {table}" for table in competition_weights(wildcards))


def recent_shards(wildcards):
    """What says how a policy fares today: the three iterations before."""
    if config["training"]["competition_sampling"] != "learnability":
        return []
    now = int(wildcards.iteration)
    return expand(
        f"{STUDY}/seed{wildcards.seed}/iteration{{iteration}}/trajectories/shard{{shard}}.parquet",
        iteration=range(max(1, now - 3), now),
        shard=SHARDS,
    )


def first_episode(wildcards):
    """Episodes of the run that come before this shard: they decide who plays what."""
    shards_before = (int(wildcards.iteration) - 1) * len(SHARDS) + int(wildcards.shard)
    return shards_before * EPISODES_PER_SHARD


def evaluated_model(wildcards):
    return checkpoint(wildcards.seed, int(wildcards.iteration))


def evaluated_names(wildcards):
    return joined(wildcards.group)


def evaluated_competitions(wildcards):
    return ancient(prepared(wildcards.group))


def graded_competitions(wildcards):
    return prepared(wildcards.group)


def evaluated_policy(wildcards):
    return "base" if int(wildcards.iteration) == 0 else "trained"


def evaluation_episodes(wildcards):
    """Per competition: the whole number for base and final policy, fewer along the curve."""
    if wildcards.group == "train":
        return config["evaluation"]["train_episodes"]
    whole = int(wildcards.iteration) in (0, ITERATIONS[-1])
    return config["evaluation"]["episodes" if whole else "curve_episodes"]


def sampling_seed(wildcards):
    """Evaluation draws apart from training, whose sampling seeds are the runs' own."""
    return 1000 + int(wildcards.seed)


def held_out_folders(iteration):
    return expand(f"{STUDY}/evaluation/{STEP}/held_out", seed=SEEDS, iteration=iteration)


def held_out_scores(iteration):
    return [f"{folder}/scores.csv" for folder in held_out_folders(iteration)]


def scores_of(own):
    """scores.csv of the base model and of the final policies of a study or a variant, per run."""
    last = own["training"]["iterations"]
    return {
        policy: [
            f"{folder}/evaluation/seed{seed}/iteration{iteration}/held_out/scores.csv"
            for seed in own["seeds"]
        ]
        for policy, folder, iteration in (
            ("base", own.get("start", STUDY), 0),
            ("trained", f"results/{own['study']}", last),
        )
    }


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
