import functools
import json
import shlex
import sys
from pathlib import Path

import pandas as pd
from configuration import find_problem, prompts_file, with_types
from fingerprint import fingerprint
from images import FAMILIES, digest, image_file
from snakemake.settings.types import DeploymentMethod
from snakemake.utils import update_config

update_config(config, with_types(workflow.config_settings.config))
if problem := find_problem(config, workflow.overwrite_configfiles):
    sys.exit(f"error: {problem}")
DEPLOYMENT = workflow.deployment_settings.deployment_method
if DEPLOYMENT >= {DeploymentMethod.CONDA, DeploymentMethod.APPTAINER}:
    sys.exit("error: --sdm conda apptainer: the containers have no conda: give one of the two")

STUDY = f"results/{config['study']}"
STEP = "seed{seed}/iteration{iteration}"
SEEDS = config["seeds"]
ITERATIONS = range(1, config["training"]["iterations"] + 1)
EVALUATED = sorted({0, *config["evaluation"]["curve_iterations"], ITERATIONS[-1]})
SHARDS = range(config["training"]["shards"])
EPISODES_PER_SHARD = config["training"]["episodes"] // len(SHARDS)
PROMPTS = str(prompts_file(config))
COMPETITIONS = pd.read_csv(config["competitions"], sep="\t", comment="#")
# The embedded ones have a leaderboard here; all others are MLE-Dojo's own.
EMBEDDED = [path.stem for path in Path("config/leaderboards").glob("*.csv")]
BENCHMARK = sorted(set(COMPETITIONS["competition"]) - set(EMBEDDED))
# A study of embedded competitions has no such section, and no use for these rules.
MLE_DOJO = config["mle_dojo"] or dict.fromkeys(
    ("checkout", "repository", "commit", "archives", "drop_leaking_columns"), ""
)
GROUP_OF = COMPETITIONS.set_index("competition")["group"]
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


def room_for_competition(wildcards):
    """Megabytes for archive, unpacked files and the two halves."""
    download = CATALOGUE.loc[wildcards.competition, "size_mb"]
    return 1000 if pd.isna(download) else 1000 + int(4 * download)


def sections(*keys):
    """Sections of the configuration as inline JSON: what a job reads is also what re-runs it."""
    return json.dumps({key: config[key] for key in keys}, sort_keys=True)


def checkpoint(seed, iteration):
    """The policy after `iteration` updates of a run; all runs start from the same base model."""
    if iteration == 0:
        return f"{STUDY}/base_model"
    return f"{STUDY}/seed{seed}/iteration{iteration}/checkpoint"


def playing_model(wildcards):
    """Who plays the shards of an iteration."""
    return checkpoint(wildcards.seed, int(wildcards.iteration) - 1)


def earlier_executions(wildcards):
    """What a run has executed so far on training competitions, the base model's warm start first."""
    remembered = config["sandbox"]["remember_programs"]
    shards = expand(
        f"{STUDY}/seed{wildcards.seed}/iteration{{iteration}}/executions/shard{{shard}}.parquet",
        iteration=range(1, int(wildcards.iteration)) if remembered else [],
        shard=SHARDS,
    )
    return [f"{STUDY}/base_model_executions.parquet", *shards]


def previous_checkpoint(wildcards):
    """What an update continues from: nothing but the base model for the first."""
    iteration = int(wildcards.iteration)
    return [checkpoint(wildcards.seed, iteration - 1)] if iteration > 1 else []


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


def first_episode(wildcards):
    """Episodes of the run that come before this shard: they decide who plays what."""
    shards_before = (int(wildcards.iteration) - 1) * len(SHARDS) + int(wildcards.shard)
    return shards_before * EPISODES_PER_SHARD


def evaluated_model(wildcards):
    return checkpoint(wildcards.seed, int(wildcards.iteration))


def evaluated_names(wildcards):
    return names(wildcards.group)


def evaluated_competitions(wildcards):
    return prepared(wildcards.group)


def evaluated_policy(wildcards):
    return "base" if int(wildcards.iteration) == 0 else "trained"


def evaluation_episodes(wildcards):
    """Per competition: the whole number for base and final policy, fewer along the curve."""
    whole = int(wildcards.iteration) in (0, ITERATIONS[-1])
    return config["evaluation"]["episodes" if whole else "curve_episodes"]


def sampling_seed(wildcards):
    """Evaluation draws apart from training, whose sampling seeds are the runs' own."""
    return 1000 + int(wildcards.seed)


def held_out_scores(iteration):
    return expand(
        f"{STUDY}/evaluation/{STEP}/held_out/scores.csv",
        seed=SEEDS,
        iteration=iteration,
    )


def image_needed(family):
    """The image of a stage family, an input only where jobs run in containers.

    Its age does not matter: one of other content has another name.
    """
    return ancient(image_file(family)) if DeploymentMethod.APPTAINER in DEPLOYMENT else []


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
