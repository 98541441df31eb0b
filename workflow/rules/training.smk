rule base_model:
    input:
        script="scripts/base_model.py",
        competitions=prepared("train"),
    output:
        model=directory(f"{STUDY}/base_model"),
        timing=f"{STUDY}/timing/base_model.json",
    log:
        f"{STUDY}/logs/base_model.log",
    benchmark:
        f"{STUDY}/benchmarks/base_model.tsv"
    threads: 2
    params:
        names=names("train"),
        settings=sections(
            "base_model", "warm_start", "teacher", "sampling", "episode", "sandbox"
        ),
        code=[PLAYING, fingerprint("training", "wrappers/scripted_policy.py")],
    conda:
        "../../envs/rollouts.yaml"
    shell:
        "python {input.script} --config {params.settings:q} --competitions {params.names} "
        "--output-dir {output.model} --workers {threads} --timing {output.timing} > {log} 2>&1"


rule generate_trajectories:
    input:
        script="scripts/generate_trajectories.py",
        model=playing_model,
        competitions=prepared("train"),
    output:
        shard=f"{STUDY}/seed{{seed}}/iteration{{iteration}}/trajectories/shard{{shard}}.parquet",
        timing=f"{STUDY}/timing/seed{{seed}}/iteration{{iteration}}/shard{{shard}}.json",
    log:
        f"{STUDY}/logs/seed{{seed}}/iteration{{iteration}}/shard{{shard}}.log",
    benchmark:
        f"{STUDY}/benchmarks/seed{{seed}}/iteration{{iteration}}/shard{{shard}}.tsv"
    threads: 1
    params:
        folder=f"{STUDY}/seed{{seed}}/iteration{{iteration}}/trajectories",
        names=names("train"),
        episodes=config["training"]["episodes"] // len(SHARDS),
        first=first_episode,
        settings=sections("sampling", "episode", "sandbox"),
        code=PLAYING,
    conda:
        "../../envs/rollouts.yaml"
    shell:
        "python {input.script} --model-name {input.model} --config {params.settings:q} "
        "--competitions {params.names} --num-episodes {params.episodes} --seed {wildcards.seed} "
        "--iteration {wildcards.iteration} --shard {wildcards.shard} "
        "--first-episode {params.first} --workers {threads} --output-dir {params.folder} "
        "--timing {output.timing} > {log} 2>&1"


rule train_rl:
    input:
        script="scripts/train_rl.py",
        base_model=f"{STUDY}/base_model",
        previous=previous_checkpoint,
        shards=expand(
            f"{STUDY}/seed{{{{seed}}}}/iteration{{{{iteration}}}}/trajectories/shard{{shard}}.parquet",
            shard=SHARDS,
        ),
    output:
        checkpoint=directory(f"{STUDY}/seed{{seed}}/iteration{{iteration}}/checkpoint"),
        metrics=f"{STUDY}/seed{{seed}}/iteration{{iteration}}/metrics.json",
        timing=f"{STUDY}/timing/seed{{seed}}/iteration{{iteration}}/train_rl.json",
    log:
        f"{STUDY}/logs/seed{{seed}}/iteration{{iteration}}/train_rl.log",
    benchmark:
        f"{STUDY}/benchmarks/seed{{seed}}/iteration{{iteration}}/train_rl.tsv"
    threads: 1
    params:
        trajectories=f"{STUDY}/seed{{seed}}/iteration{{iteration}}/trajectories",
        previous=lambda wildcards: " ".join(f"--previous {p}" for p in previous_checkpoint(wildcards)),
        tensorboard=f"{STUDY}/tensorboard/seed{{seed}}",
        settings=sections("rewards", "ppo"),
        code=fingerprint("core", "training", "wrappers"),
    conda:
        "../../envs/training.yaml"
    shell:
        "python {input.script} --trajectories-dir {params.trajectories} "
        "--config {params.settings:q} --base-model {input.base_model} {params.previous} "
        "--iteration {wildcards.iteration} --seed {wildcards.seed} "
        "--output-dir {output.checkpoint} --metrics {output.metrics} "
        "--tensorboard {params.tensorboard} --timing {output.timing} > {log} 2>&1"
