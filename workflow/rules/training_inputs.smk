def played_in(iteration):
    """The study whose shards an iteration learns from; the base model plays those of the first."""
    return START if int(iteration) == 1 else STUDY


def shards_played(wildcards):
    folder = f"{played_in(wildcards.iteration)}/{STEP}/trajectories".format(**wildcards)
    return [f"{folder}/shard{shard}.parquet" for shard in SHARDS]


def playing_model(wildcards):
    """Who plays the shards of an iteration: the newest policy, or one that need not be waited for."""
    return checkpoint(wildcards.seed, updates_seen(int(wildcards.iteration), STALENESS))


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


def fetched_model():
    """The hub's model that the base model is; its age does not matter, its commit is its name."""
    source, revision = (config["base_model"][key] for key in ("source", "revision"))
    if source == "warm_start" or Path(source).is_dir():
        return []
    return [ancient(f"results/models/{source}/{revision}")]
