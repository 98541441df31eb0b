import hashlib
import json
from pathlib import Path

import pandas as pd

STUDY = f"results/{config['study']}"
SEEDS = config["seeds"]
ITERATIONS = config["training"]["iterations"]
SHARDS = range(config["training"]["shards"])
COMPETITIONS = pd.read_csv(config["competitions"], sep="\t", comment="#")


wildcard_constraints:
    competition="[a-z0-9-]+",
    seed=r"\d+",
    iteration=r"\d+",
    shard=r"\d+",
    group="train|validation|held_out",


def names(group):
    """Competitions of one group, in the order of the table."""
    return COMPETITIONS.loc[COMPETITIONS["group"] == group, "competition"].tolist()


def prepared(group):
    return expand("results/competitions/{name}/competition.json", name=names(group))


def sections(*keys):
    """Sections of the configuration as inline JSON: what a job reads is also what re-runs it."""
    return json.dumps({key: config[key] for key in keys}, sort_keys=True)


def fingerprint(*packages):
    """Digest of the code a job runs, so that an edit re-runs the jobs that use it and no others."""
    digest = hashlib.sha256()
    for package in packages:
        root = Path(workflow.basedir) / "agent" / package
        files = [root] if root.is_file() else sorted(root.rglob("*"))
        for file in files:
            if file.suffix in {".py", ".yaml", ".mplstyle"}:
                digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]


PLAYING = fingerprint("core", "sandbox", "competitions", "rollout.py", "grading.py")


def checkpoint(seed, iteration):
    """The policy after `iteration` updates of a run; all runs start from the same base model."""
    if iteration == 0:
        return f"{STUDY}/base_model"
    return f"{STUDY}/seed{seed}/iteration{iteration}/checkpoint"


def evaluated_model(wildcards):
    return checkpoint(wildcards.seed, int(wildcards.iteration))


def playing_model(wildcards):
    """Who plays the shards of an iteration."""
    return checkpoint(wildcards.seed, int(wildcards.iteration) - 1)


def previous_checkpoint(wildcards):
    """What an update continues from: nothing but the base model for the first."""
    iteration = int(wildcards.iteration)
    return [checkpoint(wildcards.seed, iteration - 1)] if iteration > 1 else []


def first_episode(wildcards):
    """Episodes of the run that come before this shard: they decide who plays what."""
    episodes = config["training"]["episodes"] // len(SHARDS)
    shards_before = (int(wildcards.iteration) - 1) * len(SHARDS) + int(wildcards.shard)
    return shards_before * episodes


def evaluated_iterations():
    """Base, learning curve and final policy."""
    return sorted({0, *config["evaluation"]["curve_iterations"], ITERATIONS})


def evaluation_episodes(wildcards):
    """Per competition: the whole number for base and final policy, fewer along the curve."""
    settings = config["evaluation"]
    whole = int(wildcards.iteration) in (0, ITERATIONS)
    return settings["episodes"] if whole else settings["curve_episodes"]
