localrules:
    note_conditions,
    note_api_conditions,


# For the generalisation gap, base and final policy also play what was trained on.
ON_TRAIN = [0, ITERATIONS[-1]] if config["evaluation"]["train_episodes"] else []
EVALUATIONS = [
    *expand(f"{STUDY}/evaluation/{STEP}/held_out", seed=SEEDS, iteration=EVALUATED),
    *expand(f"{STUDY}/evaluation/{STEP}/train", seed=SEEDS, iteration=ON_TRAIN),
]
YARDSTICKS = f"{STUDY}/evaluation/yardsticks.csv"
SCORES, TURNS = f"{STUDY}/scores.csv", f"{STUDY}/turns.csv"
PLAYED = expand(
    f"{STUDY}/{STEP}/trajectories/shard{{shard}}.parquet",
    seed=SEEDS,
    iteration=ITERATIONS,
    shard=SHARDS,
)
API_MODELS = {model["name"]: model for model in config["evaluation"]["api_models"]}
API_EVALUATIONS = expand(f"{STUDY}/evaluation/api/{{name}}", name=API_MODELS)
# What the job of an API model reads beside what its script runs.
UPSTREAM_AGENTS = "agent/wrappers/mledojo_agents.yaml"
# What an evaluation is played under. A job of its own notes it: behind an input that is `ancient`
# Snakemake overlooks changed parameters, once what makes that input runs again as well.
CONDITIONS = {
    "names": evaluated_names,
    "temperature": config["evaluation"]["temperature"],
    "episodes": evaluation_episodes,
    "sampling_seed": sampling_seed,
}
API_CONDITIONS = {
    "names": joined("held_out"),
    "temperature": config["evaluation"]["temperature"],
    "max_new_tokens": config["sampling"]["max_new_tokens"],
    "episodes": config["evaluation"]["episodes"],
    "settings": settings_of_api_model,
}


rule note_conditions:
    """Note what an evaluation is played under, beside model and competitions."""
    input:
        image=image_needed("analysis"),
    output:
        f"{STUDY}/evaluation/{STEP}/{{group}}/conditions.txt",
    log:
        f"{STUDY}/logs/{STEP}/note_conditions_{{group}}.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    params:
        **CONDITIONS,
        decisive=settings_of_player()["decisive"],
        seen=PREPARATION,
        code=fingerprint("evaluate", *PROMPTS, without=JUDGING),
    shell:
        "echo {params:q} > {output} 2> {log}"


rule evaluate:
    """Play one policy on one group of competitions; the episodes hold every submission.

    What was played stays valid when competitions are judged otherwise (other leaderboards, metrics,
    halves), hence `ancient`; what an agent sees of them is among the conditions.
    """
    input:
        conditions=rules.note_conditions.output,
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
        **CONDITIONS,
        settings=settings_of_player()["settings"],
        folder=subpath(output.episodes, parent=True),
        workers=programs_at_once,
        helpers=helpers_option,
    shell:
        "python scripts/evaluate.py --model-path {input.model} --config {params.settings:q} "
        "--temperature {params.temperature} --competitions {params.names} "
        "--num-episodes {params.episodes} "
        "--iteration {wildcards.iteration} --sampling-seed {params.sampling_seed} "
        "--gpus {resources.gpu} --workers {params.workers} {params.helpers} --output-dir {params.folder} "
        "--timing {output.timing} > {log} 2>&1"


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
        **growing(mem_mb=4000, runtime=60),
    params:
        folder=subpath(output.scores, parent=True),
        policy=evaluated_policy,
        seed="{seed}",
        iteration="{iteration}",
        told=TOLD,
        scoring=JUDGED_BY,
        code=fingerprint("grade_evaluation"),
    shell:
        "python scripts/grade_evaluation.py --episodes {input.episodes} --told {params.told} "
        "--scoring {params.scoring} --policy {params.policy} --seed {params.seed} "
        "--iteration {params.iteration} --output-dir {params.folder} "
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
        scoring=JUDGED_BY,
        code=fingerprint("evaluate_yardsticks", *PROMPTS),
    shell:
        "python scripts/evaluate_yardsticks.py --competitions-table {input.table} "
        "--leaderboards config/leaderboards --base {input.base} --trained {input.trained} "
        "--num-episodes {params.episodes} --config {params.settings:q} "
        "--scoring {params.scoring} --output {output.scores} --timing {output.timing} > {log} 2>&1"


rule note_api_conditions:
    """Note what a model behind an API plays under."""
    input:
        image=image_needed("analysis"),
    output:
        f"{STUDY}/evaluation/api/{{name}}/conditions.txt",
    log:
        f"{STUDY}/logs/note_api_conditions/{{name}}.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    params:
        **API_CONDITIONS,
        seen=PREPARATION,
        code=fingerprint("evaluate_api_model", *PROMPTS, UPSTREAM_AGENTS, without=JUDGING),
    shell:
        "echo {params:q} > {output} 2> {log}"


rule evaluate_api_model:
    """Let a model behind an API play the held-out competitions; its key is in the environment."""
    input:
        conditions=rules.note_api_conditions.output,
        competitions=ancient(prepared("held_out")),
        checkout=ancient(checkout_of_agent),
        image=image_needed("competitions"),
    output:
        episodes=f"{STUDY}/evaluation/api/{{name}}/episodes.parquet",
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
        **API_CONDITIONS,
        folder=subpath(output.episodes, parent=True),
        workers=programs_at_once,
    shell:
        "python scripts/evaluate_api_model.py --config {params.settings:q} "
        "--temperature {params.temperature} --max-new-tokens {params.max_new_tokens} "
        "--competitions {params.names} --num-episodes {params.episodes} "
        "--workers {params.workers} --output-dir {params.folder} --timing {output.timing} > {log} 2>&1"


use rule grade_evaluation as grade_api_model with:
    input:
        episodes=f"{STUDY}/evaluation/api/{{name}}/episodes.parquet",
        competitions=prepared("held_out"),
        image=image_needed("competitions"),
    output:
        scores=f"{STUDY}/evaluation/api/{{name}}/scores.csv",
        turns=f"{STUDY}/evaluation/api/{{name}}/turns.csv",
        grading=f"{STUDY}/evaluation/api/{{name}}/grading.json",
        timing=f"{STUDY}/timing/grade_api_model/{{name}}.json",
    log:
        f"{STUDY}/logs/grade_api_model/{{name}}.log",
    benchmark:
        f"{STUDY}/benchmarks/grade_api_model/{{name}}.tsv"
    params:
        policy="{name}",
        seed=0,
        iteration=0,


rule collect_scores:
    """Gather all scores and all turns of the study into two tables."""
    input:
        scores=expand("{folder}/scores.csv", folder=EVALUATIONS),
        turns=expand("{folder}/turns.csv", folder=EVALUATIONS),
        shards=PLAYED,
        yardsticks=[YARDSTICKS, *expand("{folder}/scores.csv", folder=API_EVALUATIONS)],
        image=image_needed("analysis"),
    output:
        scores=SCORES,
        turns=TURNS,
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
        staleness=STALENESS,
        code=fingerprint("collect_scores"),
    shell:
        "python scripts/collect_scores.py --scores {input.scores} {input.yardsticks} "
        "--turns {input.turns} --shards {input.shards} --all-scores {output.scores} "
        "--all-turns {output.turns} --staleness {params.staleness} --timing {output.timing} > {log} 2>&1"
