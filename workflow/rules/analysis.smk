TRAINING_METRICS = expand(f"{STUDY}/{STEP}/metrics.json", seed=SEEDS, iteration=ITERATIONS)
BOOTSTRAP = f"--resamples {config['statistics']['resamples']} --seed {config['statistics']['seed']}"
PLANNED = sorted({*SEEDS, *config["statistics"]["lost_seeds"]})
TRAINING_JOBS = expand(
    f"{STUDY}/timing/{STEP}/{{job}}.json",
    seed=SEEDS,
    iteration=ITERATIONS,
    job=["train_rl", *(f"shard{shard}" for shard in SHARDS)],
)
# The jobs whose time is summed up; statistics, tables and figures take seconds.
WORK = [
    *expand(
        "results/timing/prepare_competition/{name}.json",
        name=names("train") + names("held_out"),
    ),
    f"{STUDY}/timing/base_model.json",
    *TRAINING_JOBS,
    *expand(
        f"{STUDY}/timing/{STEP}/weigh_competitions.json",
        seed=SEEDS,
        iteration=filter(is_weighed, ITERATIONS),
    ),
    *[
        f"{STUDY}/timing/seed{seed}/iteration{iteration}/{job}_{group}.json"
        for group, iterations in (("held_out", EVALUATED), ("train", ON_TRAIN))
        for seed in SEEDS
        for iteration in iterations
        for job in ("evaluate", "grade")
    ],
    *expand(
        f"{STUDY}/timing/{{job}}/{{name}}.json",
        job=["evaluate_api_model", "grade_api_model"],
        name=API_MODELS,
    ),
    f"{STUDY}/timing/evaluate_yardsticks.json",
    f"{STUDY}/timing/collect_scores.json",
]


rule compare_policies:
    """Compare trained, base and simple policies, with intervals."""
    input:
        scores=SCORES,
        image=image_needed("analysis"),
    output:
        statistics=table("statistics", f"{STUDY}/statistics.csv"),
        competitions=table("competitions_table", f"{STUDY}/competitions.csv"),
        each=table("competition_statistics", f"{STUDY}/competition_statistics.csv"),
    log:
        f"{STUDY}/logs/compare_policies.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        bootstrap=BOOTSTRAP,
        planned=PLANNED,
        told=TOLD,
        code=fingerprint("compare_policies", COVERAGE),
    shell:
        "python scripts/compare_policies.py --scores {input.scores} {params.bootstrap} "
        "--planned-runs {params.planned} --told {params.told} --statistics {output.statistics} "
        "--competitions {output.competitions} --each-competition {output.each} > {log} 2>&1"


rule tabulate_costs:
    """Put what scores and training cost, in tokens and seconds, beside what they brought."""
    input:
        scores=SCORES,
        base=expand("{folder}/episodes.parquet", folder=held_out_folders(0)),
        trained=expand("{folder}/episodes.parquet", folder=held_out_folders(ITERATIONS[-1])),
        shards=PLAYED,
        jobs=TRAINING_JOBS,
        image=image_needed("analysis"),
    output:
        table("costs", f"{STUDY}/timing/costs.csv"),
    log:
        f"{STUDY}/logs/tabulate_costs.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        code=fingerprint("tabulate_costs"),
    shell:
        "python scripts/tabulate_costs.py --scores {input.scores} --base {input.base} "
        "--trained {input.trained} --shards {input.shards} --jobs {input.jobs} "
        "--output {output} > {log} 2>&1"


rule tabulate_results:
    """Write the tables of results as CSV and LaTeX."""
    input:
        statistics=rules.compare_policies.output.statistics,
        competitions=rules.compare_policies.output.competitions,
        image=image_needed("analysis"),
    output:
        csv=table("results_table", f"{STUDY}/tables/results.csv"),
        tex=f"{STUDY}/tables/results.tex",
        competitions=f"{STUDY}/tables/competitions.tex",
    log:
        f"{STUDY}/logs/tabulate_results.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        code=fingerprint("tabulate_results"),
    shell:
        "python scripts/tabulate_results.py --statistics {input.statistics} "
        "--competitions {input.competitions} --results-csv {output.csv} "
        "--results-tex {output.tex} --competitions-tex {output.competitions} "
        "> {log} 2>&1"


rule summarise_timing:
    """Sum up where the time of the study went."""
    input:
        work=WORK,
        image=image_needed("analysis"),
    output:
        time_split=f"{STUDY}/timing/time_split.csv",
        summary=f"{STUDY}/timing/summary.json",
    log:
        f"{STUDY}/logs/summarise_timing.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
        # A resource, because another number of cores is no reason to run again. What a cluster has
        # is not known here: there it is the most that jobs held at once.
        cores_of_study=workflow.resource_settings.cores or 1,
    params:
        code=fingerprint("summarise_timing"),
    shell:
        "python scripts/summarise_timing.py --timings {input.work} --cores {resources.cores_of_study} "
        "--time-split {output.time_split} --summary {output.summary} > {log} 2>&1"


rule headline:
    """State the headline numbers, as JSON and in plain words."""
    input:
        statistics=rules.compare_policies.output.statistics,
        competitions=rules.compare_policies.output.competitions,
        turns=TURNS,
        summary=rules.summarise_timing.output.summary,
        image=image_needed("analysis"),
    output:
        headline=table("headline", f"{STUDY}/headline.json"),
        text=f"{STUDY}/headline.txt",
    log:
        f"{STUDY}/logs/headline.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        scoring=JUDGED_BY,
        code=fingerprint("headline"),
    shell:
        "python scripts/headline.py --statistics {input.statistics} "
        "--competitions {input.competitions} --turns {input.turns} "
        "--timing-summary {input.summary} --scoring {params.scoring} "
        "--output {output.headline} --text {output.text} > {log} 2>&1"
