localrules:
    publish_metrics,


rule base_model:
    """Make the policy that every run starts from."""
    input:
        competitions=prepared("train"),
        fetched=fetched_model(),
        image=image_needed("rollouts"),
    output:
        model=directory(f"{STUDY}/base_model"),
        executions=f"{STUDY}/base_model_executions.parquet",
        timing=f"{STUDY}/timing/base_model.json",
    log:
        f"{STUDY}/logs/base_model.log",
    benchmark:
        f"{STUDY}/benchmarks/base_model.tsv"
    conda:
        "../../envs/rollouts.yaml"
    container:
        image_file("rollouts")
    threads: threads_of("base_model")
    resources:
        **asked("base_model"),
    params:
        **settings_of_player("base_model", "warm_start", "teacher"),
        workers=programs_at_once,
        names=joined("train"),
        fetched=lambda wildcards, input: " ".join(f"--fetched {path}" for path in input.fetched),
        # Of the rewards' neighbour, batch.py, it takes only the summary of what was played.
        code=fingerprint(
            "base_model",
            *PROMPTS,
            without=("agent/training/rewards.py", *JUDGING),
        ),
    shell:
        "python scripts/base_model.py --config {params.settings:q} --competitions {params.names} "
        "{params.fetched} --output-dir {output.model} --executions-to {output.executions} "
        "--workers {params.workers} --gpus {resources.gpu} --timing {output.timing} > {log} 2>&1"


rule weigh_competitions:
    """Decide how often an iteration plays each competition; not needed for all equally often."""
    input:
        shards=recent_shards,
        image=image_needed("rollouts"),
    output:
        weights=f"{STUDY}/{STEP}/competition_weights.tsv",
        timing=f"{STUDY}/timing/{STEP}/weigh_competitions.json",
    log:
        f"{STUDY}/logs/{STEP}/weigh_competitions.log",
    priority: 1
    conda:
        "../../envs/rollouts.yaml"
    container:
        image_file("rollouts")
    resources:
        **LIGHT,
    params:
        by=config["training"]["competition_sampling"],
        names=joined("train"),
        categories=categories("train"),
        code=fingerprint("weigh_competitions"),
    shell:
        "python scripts/weigh_competitions.py --by {params.by} --competitions {params.names} "
        "--categories {params.categories:q} --trajectories {input.shards} "
        "--output {output.weights} --timing {output.timing} > {log} 2>&1"


rule generate_trajectories:
    """Play one shard of an iteration's training episodes."""

    # The base model has waited for the competitions; to name them again would take planning long.
    input:
        model=playing_model,
        executions=earlier_executions,
        weights=[] if UNIFORM else competition_weights,
        image=image_needed("rollouts"),
    output:
        shard=f"{STUDY}/{STEP}/trajectories/shard{{shard}}.parquet",
        executions=f"{STUDY}/{STEP}/executions/shard{{shard}}.parquet",
        timing=f"{STUDY}/timing/{STEP}/shard{{shard}}.json",
    log:
        f"{STUDY}/logs/{STEP}/shard{{shard}}.log",
    benchmark:
        f"{STUDY}/benchmarks/{STEP}/shard{{shard}}.tsv"
    priority: 1  # the runs are the longest chains; evaluations fill the cores they leave idle
    conda:
        "../../envs/rollouts.yaml"
    container:
        image_file("rollouts")
    threads: threads_of("rollouts")
    resources:
        **asked("rollouts"),
    params:
        **settings_of_player(),
        folder=subpath(output.shard, parent=True),
        workers=programs_at_once,
        helpers=helpers_option,
        names=joined("train"),
        episodes=EPISODES_PER_SHARD,
        first=first_episode,
        weights="" if UNIFORM else weights_option,
        code=fingerprint("generate_trajectories", *PROMPTS, without=JUDGING),
    shell:
        "python scripts/generate_trajectories.py --model-name {input.model} "
        "--config {params.settings:q} --competitions {params.names} "
        "--num-episodes {params.episodes} --seed {wildcards.seed} "
        "--iteration {wildcards.iteration} --shard {wildcards.shard} "
        "--first-episode {params.first} {params.weights} --workers {params.workers} {params.helpers} "
        "--gpus {resources.gpu} --output-dir {params.folder} "
        "--executions-from {input.executions} --executions-to {output.executions} "
        "--timing {output.timing} > {log} 2>&1"


rule train_rl:
    """One update: all shards of an iteration in, the next checkpoint out."""
    input:
        base_model=starting_model,
        previous=previous_checkpoint,
        player=playing_model,
        shards=shards_played,
        image=image_needed("training"),
    output:
        checkpoint=directory(f"{STUDY}/{STEP}/checkpoint"),
        metrics=f"{STUDY}/{STEP}/metrics.json",
        timing=f"{STUDY}/timing/{STEP}/train_rl.json",
    log:
        f"{STUDY}/logs/{STEP}/train_rl.log",
    benchmark:
        f"{STUDY}/benchmarks/{STEP}/train_rl.tsv"
    priority: 1
    conda:
        "../../envs/training.yaml"
    container:
        image_file("training")
    threads: threads_of("update")
    resources:
        **asked_for_update(),
    params:
        trajectories=folder_of_shards,
        shards=len(SHARDS),
        previous=previous_option,
        tensorboard=f"{STUDY}/tensorboard/seed{{seed}}",
        launcher=launcher(),
        # From a function of the input, which Snakemake does not track, as resources are not.
        gpus=lambda wildcards, input: gpus_of_update(),
        method=update_method,
        settings=update_settings,
        code=fingerprint("train_rl"),
    shell:
        "{params.launcher} scripts/train_rl.py --trajectories-dir {params.trajectories} "
        "--num-shards {params.shards} --method {params.method} --config {params.settings:q} "
        "--base-model {input.base_model} {params.previous} --player {input.player} "
        "--iteration {wildcards.iteration} --seed {wildcards.seed} --gpus {params.gpus} "
        "--output-dir {output.checkpoint} --metrics {output.metrics} "
        "--tensorboard {params.tensorboard} --timing {output.timing} > {log} 2>&1"


rule publish_metrics:
    """Send an iteration's metrics to Weights & Biases, in order; only if a project is named."""
    input:
        metrics=f"{STUDY}/{STEP}/metrics.json",
        before=published_before,
        image=image_needed("training"),
    output:
        f"{STUDY}/wandb/seed{{seed}}/iteration{{iteration}}.json",
    log:
        f"{STUDY}/logs/{STEP}/publish_metrics.log",
    conda:
        "../../envs/training.yaml"
    container:
        image_file("training")
    params:
        project=config["training"]["wandb_project"],
        study=config["study"],
        folder=f"{STUDY}/wandb/seed{{seed}}",
        code=fingerprint("publish_metrics"),
    shell:
        "python scripts/publish_metrics.py --metrics {input.metrics} --project {params.project:q} "
        "--study {params.study} --seed {wildcards.seed} --iteration {wildcards.iteration} "
        "--folder {params.folder} --output {output} > {log} 2>&1"
