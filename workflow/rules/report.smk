METRICS = expand(f"{STUDY}/{STEP}/metrics.json", seed=SEEDS, iteration=ITERATIONS)
BOOTSTRAP = f"--resamples {config['statistics']['resamples']} --seed {config['statistics']['seed']}"
PLANNED = sorted({*SEEDS, *config["statistics"]["lost_seeds"]})
COVERAGE = "agent/evaluation/coverage.csv"
STYLE = "agent/evaluation/house.mplstyle"
PAGE = sorted(map(str, Path("agent/browser/page").iterdir()))
TEMPLATES = sorted(map(str, Path("agent/evaluation/templates").iterdir()))
# All settings but those that make no results.
SETTINGS = json.dumps(
    config | {"training": config["training"] | {"wandb_project": None}}, sort_keys=True
)

TRAINING_JOBS = expand(
    f"{STUDY}/timing/{STEP}/{{job}}.json",
    seed=SEEDS,
    iteration=ITERATIONS,
    job=["train_rl", *(f"shard{shard}" for shard in SHARDS)],
)
# The jobs whose time is summed up: everything before the sum itself.
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
    *expand(
        f"{STUDY}/timing/{STEP}/{{job}}_held_out.json",
        seed=SEEDS,
        iteration=EVALUATED,
        job=["evaluate", "grade"],
    ),
    *expand(
        f"{STUDY}/timing/{STEP}/{{job}}_train.json",
        seed=SEEDS,
        iteration=ON_TRAIN,
        job=["evaluate", "grade"],
    ),
    f"{STUDY}/timing/evaluate_yardsticks.json",
    f"{STUDY}/timing/collect_scores.json",
]
ANALYSES = expand(
    f"{STUDY}/timing/{{job}}.json",
    job=[
        "compare_policies",
        "tabulate_results",
        "plot_learning_curves",
        "plot_competition_changes",
        "plot_performance_profiles",
        "plot_score_distributions",
        "plot_cost_against_score",
        "plot_action_mix",
        "plot_training_metrics",
    ],
)


rule compare_policies:
    """Compare trained, base and simple policies, with intervals."""
    input:
        scores=rules.collect_scores.output.scores,
        image=image_needed("analysis"),
    output:
        statistics=table("statistics", f"{STUDY}/statistics.csv"),
        competitions=table("competitions_table", f"{STUDY}/competitions.csv"),
        each=table("competition_statistics", f"{STUDY}/competition_statistics.csv"),
        timing=f"{STUDY}/timing/compare_policies.json",
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
        code=fingerprint("compare_policies", COVERAGE),
    shell:
        "python scripts/compare_policies.py --scores {input.scores} {params.bootstrap} "
        "--planned-runs {params.planned} --statistics {output.statistics} "
        "--competitions {output.competitions} --each-competition {output.each} "
        "--timing {output.timing} > {log} 2>&1"


rule tabulate_costs:
    """Put what scores and training cost, in tokens and seconds, beside what they brought."""
    input:
        scores=rules.collect_scores.output.scores,
        base=expand("{folder}/episodes.parquet", folder=held_out_folders(0)),
        trained=expand("{folder}/episodes.parquet", folder=held_out_folders(ITERATIONS[-1])),
        shards=rules.collect_scores.input.shards,
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
        timing=f"{STUDY}/timing/tabulate_results.json",
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
        "--timing {output.timing} > {log} 2>&1"


rule plot_learning_curves:
    """Draw scores over PPO iterations."""
    input:
        scores=rules.collect_scores.output.scores,
        metrics=METRICS,
        image=image_needed("analysis"),
    output:
        **figure("learning_curves", "Results"),
        timing=f"{STUDY}/timing/plot_learning_curves.json",
    log:
        f"{STUDY}/logs/plot_learning_curves.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        bootstrap=BOOTSTRAP,
        code=fingerprint("plot_learning_curves", STYLE),
    shell:
        "python scripts/plot_learning_curves.py --scores {input.scores} --training-metrics {input.metrics} "
        "{params.bootstrap} --pdf {output.pdf} --svg {output.svg} --png {output.png} "
        "--caption {output.caption} --timing {output.timing} > {log} 2>&1"


rule plot_competition_changes:
    """Draw base and trained scores of every held-out competition."""
    input:
        competitions=rules.compare_policies.output.competitions,
        image=image_needed("analysis"),
    output:
        **figure("competition_changes", "Results"),
        timing=f"{STUDY}/timing/plot_competition_changes.json",
    log:
        f"{STUDY}/logs/plot_competition_changes.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        resamples=config["statistics"]["resamples"],
        code=fingerprint("plot_competition_changes", STYLE),
    shell:
        "python scripts/plot_competition_changes.py --competitions {input.competitions} "
        "--resamples {params.resamples} --pdf {output.pdf} --svg {output.svg} --png {output.png} "
        "--caption {output.caption} --timing {output.timing} > {log} 2>&1"


rule plot_performance_profiles:
    """Draw performance profiles and the IQM of every policy."""
    input:
        scores=rules.collect_scores.output.scores,
        statistics=rules.compare_policies.output.statistics,
        image=image_needed("analysis"),
    output:
        **figure("performance_profiles", "Results"),
        timing=f"{STUDY}/timing/plot_performance_profiles.json",
    log:
        f"{STUDY}/logs/plot_performance_profiles.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        bootstrap=BOOTSTRAP,
        code=fingerprint("plot_performance_profiles", STYLE),
    shell:
        "python scripts/plot_performance_profiles.py --scores {input.scores} --statistics {input.statistics} "
        "{params.bootstrap} --pdf {output.pdf} --svg {output.svg} --png {output.png} "
        "--caption {output.caption} --timing {output.timing} > {log} 2>&1"


rule plot_score_distributions:
    """Draw how the scores of single episodes are spread."""
    input:
        scores=rules.collect_scores.output.scores,
        image=image_needed("analysis"),
    output:
        **figure("score_distributions", "Results"),
        timing=f"{STUDY}/timing/plot_score_distributions.json",
    log:
        f"{STUDY}/logs/plot_score_distributions.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        code=fingerprint("plot_score_distributions", STYLE),
    shell:
        "python scripts/plot_score_distributions.py --scores {input.scores} --pdf {output.pdf} --svg {output.svg} "
        "--png {output.png} --caption {output.caption} --timing {output.timing} > {log} 2>&1"


rule plot_cost_against_score:
    """Draw scores against what training had used until then."""
    input:
        scores=rules.collect_scores.output.scores,
        metrics=METRICS,
        image=image_needed("analysis"),
    output:
        **figure("cost_against_score", "Results"),
        timing=f"{STUDY}/timing/plot_cost_against_score.json",
    log:
        f"{STUDY}/logs/plot_cost_against_score.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        bootstrap=BOOTSTRAP,
        code=fingerprint("plot_cost_against_score", STYLE),
    shell:
        "python scripts/plot_cost_against_score.py --scores {input.scores} --training-metrics {input.metrics} "
        "{params.bootstrap} --pdf {output.pdf} --svg {output.svg} --png {output.png} "
        "--caption {output.caption} --timing {output.timing} > {log} 2>&1"


rule plot_action_mix:
    """Draw what the policy does over PPO iterations."""
    input:
        turns=rules.collect_scores.output.turns,
        image=image_needed("analysis"),
    output:
        **figure("action_mix", "Behaviour"),
        timing=f"{STUDY}/timing/plot_action_mix.json",
    log:
        f"{STUDY}/logs/plot_action_mix.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        code=fingerprint("plot_action_mix", STYLE),
    shell:
        "python scripts/plot_action_mix.py --turns {input.turns} --pdf {output.pdf} --svg {output.svg} "
        "--png {output.png} --caption {output.caption} --timing {output.timing} > {log} 2>&1"


rule plot_training_metrics:
    """Draw the health of PPO."""
    input:
        metrics=METRICS,
        image=image_needed("analysis"),
    output:
        **figure("training_metrics", "Behaviour"),
        timing=f"{STUDY}/timing/plot_training_metrics.json",
    log:
        f"{STUDY}/logs/plot_training_metrics.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        code=fingerprint("plot_training_metrics", STYLE),
    shell:
        "python scripts/plot_training_metrics.py --training-metrics {input.metrics} --pdf {output.pdf} "
        "--svg {output.svg} --png {output.png} --caption {output.caption} "
        "--timing {output.timing} > {log} 2>&1"


rule summarise_timing:
    """Sum up where the time of the study went."""
    input:
        work=WORK,
        # A figure that is drawn again is no reason to sum up again.
        analyses=ancient(ANALYSES),
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
        # A resource, because another number of cores is no reason to run again.
        cores_of_study=workflow.resource_settings.cores or 1,
    params:
        code=fingerprint("summarise_timing"),
    shell:
        "python scripts/summarise_timing.py --timings {input.work} {input.analyses} --cores {resources.cores_of_study} "
        "--time-split {output.time_split} --summary {output.summary} > {log} 2>&1"


rule plot_time_split:
    """Draw where the time of the study went."""
    input:
        time_split=rules.summarise_timing.output.time_split,
        image=image_needed("analysis"),
    output:
        **figure("time_split", "Behaviour"),
    log:
        f"{STUDY}/logs/plot_time_split.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        code=fingerprint("plot_time_split", STYLE),
    shell:
        "python scripts/plot_time_split.py --time-split {input.time_split} --pdf {output.pdf} "
        "--svg {output.svg} --png {output.png} --caption {output.caption} > {log} 2>&1"


rule headline:
    """State the headline numbers, as JSON and in plain words."""
    input:
        statistics=rules.compare_policies.output.statistics,
        competitions=rules.compare_policies.output.competitions,
        turns=rules.collect_scores.output.turns,
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
        code=fingerprint("headline"),
    shell:
        "python scripts/headline.py --statistics {input.statistics} "
        "--competitions {input.competitions} --turns {input.turns} "
        "--timing-summary {input.summary} "
        "--output {output.headline} --text {output.text} > {log} 2>&1"


rule build_trajectory_browser:
    """Write the page in which a person reads the episodes behind every number."""
    input:
        episodes=expand("{folder}/episodes.parquet", folder=EVALUATIONS),
        scores=expand("{folder}/scores.csv", folder=EVALUATIONS),
        shards=rules.collect_scores.input.shards,
        yardsticks=YARDSTICKS,
        base_model=f"{STUDY}/base_model",
        image=image_needed("analysis"),
    output:
        page=report(
            directory(f"{STUDY}/trajectory_browser"),
            htmlindex="index.html",
            caption="../report/trajectory_browser.rst",
            category="Episodes",
            labels={"page": "trajectory browser"},
        ),
    log:
        f"{STUDY}/logs/build_trajectory_browser.log",
    benchmark:
        f"{STUDY}/benchmarks/build_trajectory_browser.tsv"
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        evaluations=EVALUATIONS,
        study=config["study"],
        settings=sections("rewards"),
        code=fingerprint("build_trajectory_browser", *PAGE),
    shell:
        "python scripts/build_trajectory_browser.py --evaluations {params.evaluations} "
        "--shards {input.shards} --yardsticks {input.yardsticks} "
        "--tokenizer {input.base_model}/tokenizer.json --config {params.settings:q} "
        "--study {params.study} --output-dir {output.page} > {log} 2>&1"


# In the order of a paper.
FIGURES = [
    rules.plot_learning_curves.output,
    rules.plot_competition_changes.output,
    rules.plot_performance_profiles.output,
    rules.plot_score_distributions.output,
    rules.plot_cost_against_score.output,
    rules.plot_action_mix.output,
    rules.plot_training_metrics.output,
    rules.plot_time_split.output,
]


rule build_paper_kit:
    """Write what a paper about the study needs: numbers, methods, checklist, tables, figures."""
    input:
        headline=rules.headline.output.headline,
        summary=rules.summarise_timing.output.summary,
        results=rules.tabulate_results.output.csv,
        competitions=config["competitions"],
        figures=[drawn.pdf for drawn in FIGURES],
        captions=[drawn.caption for drawn in FIGURES],
        tables=[rules.tabulate_results.output.tex, rules.tabulate_results.output.competitions],
        image=image_needed("analysis"),
    output:
        kit=directory(f"{STUDY}/paper"),
    log:
        f"{STUDY}/logs/build_paper_kit.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        settings=SETTINGS,
        code=fingerprint("build_paper_kit", *TEMPLATES),
    shell:
        "python scripts/build_paper_kit.py --config {params.settings:q} --headline {input.headline} "
        "--timing-summary {input.summary} --results {input.results} --competitions {input.competitions} "
        "--figures {input.figures} --captions {input.captions} --tables {input.tables} "
        "--output-dir {output.kit} > {log} 2>&1"


rule write_first_page:
    """Answer what a newcomer asks, for the first page of the report."""
    input:
        headline=rules.headline.output.headline,
        summary=rules.summarise_timing.output.summary,
        metrics=METRICS,
        competitions=config["competitions"],
        image=image_needed("analysis"),
    output:
        page=f"{STUDY}/first_page.rst",
    log:
        f"{STUDY}/logs/write_first_page.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        settings=SETTINGS,
        kit=rules.build_paper_kit.output.kit,
        code=fingerprint("write_first_page", *TEMPLATES),
    shell:
        "python scripts/write_first_page.py --config {params.settings:q} --headline {input.headline} "
        "--timing-summary {input.summary} --training-metrics {input.metrics} "
        "--competitions {input.competitions} --paper-kit {params.kit} --output {output.page} > {log} 2>&1"
