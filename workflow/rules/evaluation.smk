EVALUATIONS = expand(
    f"{STUDY}/evaluation/seed{{seed}}/iteration{{iteration}}/held_out",
    seed=SEEDS,
    iteration=evaluated_iterations(),
)


rule evaluate:
    input:
        script="scripts/evaluate.py",
        model=evaluated_model,
        competitions=lambda wildcards: prepared(wildcards.group),
    output:
        scores=f"{STUDY}/evaluation/seed{{seed}}/iteration{{iteration}}/{{group}}/scores.csv",
        episodes=f"{STUDY}/evaluation/seed{{seed}}/iteration{{iteration}}/{{group}}/episodes.parquet",
        turns=f"{STUDY}/evaluation/seed{{seed}}/iteration{{iteration}}/{{group}}/turns.csv",
        timing=f"{STUDY}/timing/seed{{seed}}/iteration{{iteration}}/evaluate_{{group}}.json",
    log:
        f"{STUDY}/logs/seed{{seed}}/iteration{{iteration}}/evaluate_{{group}}.log",
    benchmark:
        f"{STUDY}/benchmarks/seed{{seed}}/iteration{{iteration}}/evaluate_{{group}}.tsv"
    threads: 1
    params:
        folder=f"{STUDY}/evaluation/seed{{seed}}/iteration{{iteration}}/{{group}}",
        names=lambda wildcards: names(wildcards.group),
        policy=lambda wildcards: "base" if int(wildcards.iteration) == 0 else "trained",
        episodes=evaluation_episodes,
        sampling_seed=lambda wildcards: 1000 + int(wildcards.seed),
        settings=sections("sampling", "episode", "sandbox"),
        code=PLAYING,
    conda:
        "../../envs/rollouts.yaml"
    shell:
        "python {input.script} --model-path {input.model} --config {params.settings:q} "
        "--competitions {params.names} --group {wildcards.group} --num-episodes {params.episodes} "
        "--policy {params.policy} --seed {wildcards.seed} --iteration {wildcards.iteration} "
        "--sampling-seed {params.sampling_seed} --workers {threads} "
        "--output-dir {params.folder} --timing {output.timing} > {log} 2>&1"


rule evaluate_yardsticks:
    input:
        script="scripts/evaluate_yardsticks.py",
        table=config["competitions"],
        leaderboards=expand(
            "config/leaderboards/{name}.csv", name=names("train") + names("held_out")
        ),
        competitions=prepared("train") + prepared("held_out"),
        base=expand(f"{STUDY}/evaluation/seed{{seed}}/iteration0/held_out/scores.csv", seed=SEEDS),
        trained=expand(
            f"{STUDY}/evaluation/seed{{seed}}/iteration{ITERATIONS}/held_out/scores.csv",
            seed=SEEDS,
        ),
    output:
        scores=f"{STUDY}/evaluation/yardsticks.csv",
        timing=f"{STUDY}/timing/evaluate_yardsticks.json",
    log:
        f"{STUDY}/logs/evaluate_yardsticks.log",
    benchmark:
        f"{STUDY}/benchmarks/evaluate_yardsticks.tsv"
    params:
        episodes=config["evaluation"]["episodes"] * len(SEEDS),
        settings=sections("episode", "sandbox"),
        code=[PLAYING, fingerprint("evaluation/yardsticks.py", "training/grammar.py")],
    conda:
        "../../envs/rollouts.yaml"
    shell:
        "python {input.script} --competitions-table {input.table} "
        "--competitions-dir results/competitions --leaderboards config/leaderboards --base {input.base} --trained {input.trained} "
        "--num-episodes {params.episodes} --config {params.settings:q} "
        "--output {output.scores} --timing {output.timing} > {log} 2>&1"


rule collect_scores:
    input:
        script="scripts/collect_scores.py",
        scores=expand("{folder}/scores.csv", folder=EVALUATIONS),
        turns=expand("{folder}/turns.csv", folder=EVALUATIONS),
        shards=expand(
            f"{STUDY}/seed{{seed}}/iteration{{iteration}}/trajectories/shard{{shard}}.parquet",
            seed=SEEDS,
            iteration=range(1, ITERATIONS + 1),
            shard=SHARDS,
        ),
        yardsticks=rules.evaluate_yardsticks.output.scores,
    output:
        scores=f"{STUDY}/scores.csv",
        turns=f"{STUDY}/turns.csv",
        timing=f"{STUDY}/timing/collect_scores.json",
    log:
        f"{STUDY}/logs/collect_scores.log",
    params:
        code=fingerprint("core", "grading.py"),
    conda:
        "../../envs/analysis.yaml"
    shell:
        "python {input.script} --scores {input.scores} {input.yardsticks} "
        "--turns {input.turns} --shards {input.shards} --all-scores {output.scores} "
        "--all-turns {output.turns} --timing {output.timing} > {log} 2>&1"
