EVALUATIONS = expand(f"{STUDY}/evaluation/{STEP}/held_out", seed=SEEDS, iteration=EVALUATED)
# For the generalisation gap, base and final policy also play what was trained on.
ON_TRAIN = [0, ITERATIONS[-1]] if config["evaluation"]["train_episodes"] else []
TRAIN_EVALUATIONS = expand(f"{STUDY}/evaluation/{STEP}/train", seed=SEEDS, iteration=ON_TRAIN)
# By its path: where a rule refers to another one's output, Snakemake compares every input with all.
YARDSTICKS = f"{STUDY}/evaluation/yardsticks.csv"


API_MODELS = {model["name"]: model for model in config["evaluation"]["api_models"]}
API_SCORES = expand(f"{STUDY}/evaluation/api/{{name}}/scores.csv", name=API_MODELS)


rule evaluate:
    """Play one policy on one group of competitions; the episodes hold every submission.

    What was played stays valid when competitions are judged otherwise (other leaderboards, metrics,
    halves), hence `ancient`; what an agent sees of them is under `params`.
    """
    input:
        model=evaluated_model,
        competitions=evaluated_competitions,
        image=image_needed("rollouts"),
    output:
        episodes=f"{STUDY}/evaluation/{STEP}/{{group}}/episodes.parquet",
        timing=f"{STUDY}/timing/{STEP}/evaluate_{{group}}.json",
    log:
        f"{STUDY}/logs/{STEP}/evaluate_{{group}}.log",
    benchmark:
        f"{STUDY}/benchmarks/{STEP}/evaluate_{{group}}.tsv"
    conda:
        "../../envs/rollouts.yaml"
    container:
        image_file("rollouts")
    threads: threads_of("evaluation")
    resources:
        **asked("evaluation"),
    params:
        folder=subpath(output.episodes, parent=True),
        names=evaluated_names,
        temperature=config["evaluation"]["temperature"],
        episodes=evaluation_episodes,
        sampling_seed=sampling_seed,
        settings=sections("sampling", "episode", "environment", "sandbox", "vllm"),
        seen=PREPARATION,
        code=fingerprint("evaluate", *PROMPTS, without=JUDGING),
    shell:
        "python scripts/evaluate.py --model-path {input.model} --config {params.settings:q} "
        "--temperature {params.temperature} --competitions {params.names} "
        "--num-episodes {params.episodes} "
        "--iteration {wildcards.iteration} --sampling-seed {params.sampling_seed} "
        "--workers $(({threads} + 1)) --output-dir {params.folder} --timing {output.timing} > {log} 2>&1"


rule grade_evaluation:
    """Judge an evaluation's stored submissions on the final half of the answers."""
    input:
        episodes=f"{STUDY}/evaluation/{STEP}/{{group}}/episodes.parquet",
        competitions=graded_competitions,
        image=image_needed("competitions"),
    output:
        scores=f"{STUDY}/evaluation/{STEP}/{{group}}/scores.csv",
        turns=f"{STUDY}/evaluation/{STEP}/{{group}}/turns.csv",
        grading=f"{STUDY}/evaluation/{STEP}/{{group}}/grading.json",
        timing=f"{STUDY}/timing/{STEP}/grade_{{group}}.json",
    log:
        f"{STUDY}/logs/{STEP}/grade_{{group}}.log",
    benchmark:
        f"{STUDY}/benchmarks/{STEP}/grade_{{group}}.tsv"
    conda:
        "../../envs/competitions.yaml"
    container:
        image_file("competitions")
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        folder=subpath(output.scores, parent=True),
        policy=evaluated_policy,
        told=config["environment"]["scoring"],
        scoring=config["evaluation"]["scoring"],
        code=fingerprint("grade_evaluation"),
    shell:
        "python scripts/grade_evaluation.py --episodes {input.episodes} --told {params.told} "
        "--scoring {params.scoring} --policy {params.policy} --seed {wildcards.seed} "
        "--iteration {wildcards.iteration} --output-dir {params.folder} "
        "--timing {output.timing} > {log} 2>&1"


rule evaluate_yardsticks:
    """Score the simple policies that a claim of learning is measured against."""
    input:
        table=config["competitions"],
        leaderboards=expand(
            "config/leaderboards/{name}.csv",
            name=[name for name in names("train") + names("held_out") if name in EMBEDDED],
        ),
        competitions=prepared("train") + prepared("held_out"),
        base=held_out_scores(0),
        trained=held_out_scores(ITERATIONS[-1]),
        image=image_needed("competitions"),
    output:
        scores=YARDSTICKS,
        timing=f"{STUDY}/timing/evaluate_yardsticks.json",
    log:
        f"{STUDY}/logs/evaluate_yardsticks.log",
    benchmark:
        f"{STUDY}/benchmarks/evaluate_yardsticks.tsv"
    conda:
        "../../envs/competitions.yaml"
    container:
        image_file("competitions")
    threads: threads_of("yardsticks")
    resources:
        **asked("yardsticks"),
    params:
        episodes=config["evaluation"]["episodes"] * len(SEEDS),
        settings=sections("episode", "environment", "sandbox"),
        scoring=config["evaluation"]["scoring"],
        code=fingerprint("evaluate_yardsticks", *PROMPTS),
    shell:
        "python scripts/evaluate_yardsticks.py --competitions-table {input.table} "
        "--leaderboards config/leaderboards --base {input.base} --trained {input.trained} "
        "--num-episodes {params.episodes} --config {params.settings:q} "
        "--scoring {params.scoring} --output {output.scores} --timing {output.timing} > {log} 2>&1"


rule evaluate_api_model:
    """Let a model behind an API play the held-out competitions; its key is in the environment."""
    input:
        competitions=prepared("held_out"),
        image=image_needed("competitions"),
    output:
        scores=f"{STUDY}/evaluation/api/{{name}}/scores.csv",
        episodes=f"{STUDY}/evaluation/api/{{name}}/episodes.parquet",
        turns=f"{STUDY}/evaluation/api/{{name}}/turns.csv",
        usage=f"{STUDY}/evaluation/api/{{name}}/usage.json",
        timing=f"{STUDY}/timing/evaluate_api_model/{{name}}.json",
    log:
        f"{STUDY}/logs/evaluate_api_model/{{name}}.log",
    benchmark:
        f"{STUDY}/benchmarks/evaluate_api_model/{{name}}.tsv"
    conda:
        "../../envs/competitions.yaml"
    container:
        image_file("competitions")
    threads: threads_of("yardsticks")
    resources:
        **asked("yardsticks"),
    params:
        folder=subpath(output.scores, parent=True),
        names=joined("held_out"),
        temperature=config["evaluation"]["temperature"],
        max_new_tokens=config["sampling"]["max_new_tokens"],
        episodes=config["evaluation"]["episodes"],
        settings=settings_of_api_model,
        scoring=config["evaluation"]["scoring"],
        code=fingerprint("evaluate_api_model", *PROMPTS),
    shell:
        "python scripts/evaluate_api_model.py --config {params.settings:q} "
        "--temperature {params.temperature} --max-new-tokens {params.max_new_tokens} "
        "--scoring {params.scoring} "
        "--competitions {params.names} --num-episodes {params.episodes} "
        "--workers $(({threads} + 1)) --output-dir {params.folder} --timing {output.timing} > {log} 2>&1"


rule collect_scores:
    """Gather all scores and all turns of the study into two tables."""
    input:
        scores=expand("{folder}/scores.csv", folder=EVALUATIONS + TRAIN_EVALUATIONS),
        turns=expand("{folder}/turns.csv", folder=EVALUATIONS + TRAIN_EVALUATIONS),
        shards=expand(
            f"{STUDY}/{STEP}/trajectories/shard{{shard}}.parquet",
            seed=SEEDS,
            iteration=ITERATIONS,
            shard=SHARDS,
        ),
        yardsticks=[YARDSTICKS, *API_SCORES],
        image=image_needed("analysis"),
    output:
        scores=f"{STUDY}/scores.csv",
        turns=f"{STUDY}/turns.csv",
        timing=f"{STUDY}/timing/collect_scores.json",
    log:
        f"{STUDY}/logs/collect_scores.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        code=fingerprint("collect_scores"),
    shell:
        "python scripts/collect_scores.py --scores {input.scores} {input.yardsticks} "
        "--turns {input.turns} --shards {input.shards} --all-scores {output.scores} "
        "--all-turns {output.turns} --timing {output.timing} > {log} 2>&1"
