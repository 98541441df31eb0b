METRICS = expand(
    f"{STUDY}/seed{{seed}}/iteration{{iteration}}/metrics.json",
    seed=SEEDS,
    iteration=range(1, ITERATIONS + 1),
)
# The jobs whose time is summed up: everything before the sum itself.
TIMINGS = (
    expand(
        "results/timing/prepare_competition/{name}.json",
        name=names("train") + names("held_out"),
    )
    + [f"{STUDY}/timing/base_model.json", f"{STUDY}/timing/evaluate_yardsticks.json"]
    + expand(
        f"{STUDY}/timing/seed{{seed}}/iteration{{iteration}}/{{job}}.json",
        seed=SEEDS,
        iteration=range(1, ITERATIONS + 1),
        job=["train_rl", *(f"shard{shard}" for shard in SHARDS)],
    )
    + expand(
        f"{STUDY}/timing/seed{{seed}}/iteration{{iteration}}/evaluate_held_out.json",
        seed=SEEDS,
        iteration=evaluated_iterations(),
    )
    + expand(
        f"{STUDY}/timing/{{rule}}.json",
        rule=[
            "collect_scores",
            "compare_policies",
            "tabulate_results",
            "plot_learning_curves",
            "plot_competition_changes",
            "plot_score_distributions",
            "plot_action_mix",
            "plot_training_metrics",
        ],
    )
)
BOOTSTRAP = f"--resamples {config['statistics']['resamples']} --seed {config['statistics']['seed']}"


ANALYSIS = fingerprint("evaluation", "core/timing.py")


def figure(name, category):
    """The three files of a figure; the SVG goes into the report."""
    stem = f"{STUDY}/figures/{name}"
    return {
        "pdf": f"{stem}.pdf",
        "png": f"{stem}.png",
        "svg": report(
            f"{stem}.svg",
            caption=f"../report/{name}.rst",
            category=category,
            labels={"figure": name.replace("_", " ")},
        ),
    }


def table(name, path):
    return report(
        path, caption=f"../report/{name}.rst", category="Tables", labels={"table": name}
    )


rule compare_policies:
    input:
        script="scripts/compare_policies.py",
        scores=rules.collect_scores.output.scores,
    output:
        statistics=table("statistics", f"{STUDY}/statistics.csv"),
        competitions=table("competitions_table", f"{STUDY}/competitions.csv"),
        timing=f"{STUDY}/timing/compare_policies.json",
    log:
        f"{STUDY}/logs/compare_policies.log",
    params:
        bootstrap=BOOTSTRAP,
        code=ANALYSIS,
    conda:
        "../../envs/analysis.yaml"
    shell:
        "python {input.script} --scores {input.scores} {params.bootstrap} "
        "--statistics {output.statistics} --competitions {output.competitions} "
        "--timing {output.timing} > {log} 2>&1"


rule tabulate_results:
    input:
        script="scripts/tabulate_results.py",
        statistics=rules.compare_policies.output.statistics,
        competitions=rules.compare_policies.output.competitions,
    output:
        csv=table("results_table", f"{STUDY}/tables/results.csv"),
        tex=f"{STUDY}/tables/results.tex",
        competitions=f"{STUDY}/tables/competitions.tex",
        timing=f"{STUDY}/timing/tabulate_results.json",
    log:
        f"{STUDY}/logs/tabulate_results.log",
    params:
        code=ANALYSIS,
    conda:
        "../../envs/analysis.yaml"
    shell:
        "python {input.script} --statistics {input.statistics} "
        "--competitions {input.competitions} --results-csv {output.csv} "
        "--results-tex {output.tex} --competitions-tex {output.competitions} "
        "--timing {output.timing} > {log} 2>&1"


rule plot_learning_curves:
    input:
        script="scripts/plot_learning_curves.py",
        scores=rules.collect_scores.output.scores,
        metrics=METRICS,
    output:
        **figure("learning_curves", "Results"),
        timing=f"{STUDY}/timing/plot_learning_curves.json",
    log:
        f"{STUDY}/logs/plot_learning_curves.log",
    params:
        bootstrap=BOOTSTRAP,
        code=ANALYSIS,
    conda:
        "../../envs/analysis.yaml"
    shell:
        "python {input.script} --scores {input.scores} --training-metrics {input.metrics} "
        "{params.bootstrap} --pdf {output.pdf} --svg {output.svg} --png {output.png} "
        "--timing {output.timing} > {log} 2>&1"


rule plot_competition_changes:
    input:
        script="scripts/plot_competition_changes.py",
        competitions=rules.compare_policies.output.competitions,
    output:
        **figure("competition_changes", "Results"),
        timing=f"{STUDY}/timing/plot_competition_changes.json",
    log:
        f"{STUDY}/logs/plot_competition_changes.log",
    params:
        code=ANALYSIS,
    conda:
        "../../envs/analysis.yaml"
    shell:
        "python {input.script} --competitions {input.competitions} --pdf {output.pdf} "
        "--svg {output.svg} --png {output.png} --timing {output.timing} > {log} 2>&1"


rule plot_score_distributions:
    input:
        script="scripts/plot_score_distributions.py",
        scores=rules.collect_scores.output.scores,
        statistics=rules.compare_policies.output.statistics,
    output:
        **figure("score_distributions", "Results"),
        timing=f"{STUDY}/timing/plot_score_distributions.json",
    log:
        f"{STUDY}/logs/plot_score_distributions.log",
    params:
        bootstrap=BOOTSTRAP,
        code=ANALYSIS,
    conda:
        "../../envs/analysis.yaml"
    shell:
        "python {input.script} --scores {input.scores} --statistics {input.statistics} "
        "{params.bootstrap} --pdf {output.pdf} --svg {output.svg} --png {output.png} "
        "--timing {output.timing} > {log} 2>&1"


rule plot_action_mix:
    input:
        script="scripts/plot_action_mix.py",
        turns=rules.collect_scores.output.turns,
    output:
        **figure("action_mix", "Behaviour"),
        timing=f"{STUDY}/timing/plot_action_mix.json",
    log:
        f"{STUDY}/logs/plot_action_mix.log",
    params:
        code=ANALYSIS,
    conda:
        "../../envs/analysis.yaml"
    shell:
        "python {input.script} --turns {input.turns} --pdf {output.pdf} --svg {output.svg} "
        "--png {output.png} --timing {output.timing} > {log} 2>&1"


rule plot_training_metrics:
    input:
        script="scripts/plot_training_metrics.py",
        metrics=METRICS,
    output:
        **figure("training_metrics", "Behaviour"),
        timing=f"{STUDY}/timing/plot_training_metrics.json",
    log:
        f"{STUDY}/logs/plot_training_metrics.log",
    params:
        code=ANALYSIS,
    conda:
        "../../envs/analysis.yaml"
    shell:
        "python {input.script} --training-metrics {input.metrics} --pdf {output.pdf} "
        "--svg {output.svg} --png {output.png} --timing {output.timing} > {log} 2>&1"


rule summarise_timing:
    input:
        script="scripts/summarise_timing.py",
        timings=TIMINGS,
    output:
        time_split=f"{STUDY}/timing/time_split.csv",
        summary=f"{STUDY}/timing/summary.json",
    log:
        f"{STUDY}/logs/summarise_timing.log",
    params:
        code=ANALYSIS,
    resources:
        # A resource, because another number of cores is no reason to run again.
        study_cores=workflow.cores or 1,
    conda:
        "../../envs/analysis.yaml"
    shell:
        "python {input.script} --timings {input.timings} --cores {resources.study_cores} "
        "--time-split {output.time_split} --summary {output.summary} > {log} 2>&1"


rule plot_time_split:
    input:
        script="scripts/plot_time_split.py",
        time_split=rules.summarise_timing.output.time_split,
    output:
        **figure("time_split", "Behaviour"),
    log:
        f"{STUDY}/logs/plot_time_split.log",
    params:
        code=ANALYSIS,
    conda:
        "../../envs/analysis.yaml"
    shell:
        "python {input.script} --time-split {input.time_split} --pdf {output.pdf} "
        "--svg {output.svg} --png {output.png} > {log} 2>&1"


rule headline:
    input:
        script="scripts/headline.py",
        statistics=rules.compare_policies.output.statistics,
        competitions=rules.compare_policies.output.competitions,
        summary=rules.summarise_timing.output.summary,
    output:
        headline=table("headline", f"{STUDY}/headline.json"),
        text=f"{STUDY}/headline.txt",
    log:
        f"{STUDY}/logs/headline.log",
    params:
        code=ANALYSIS,
    conda:
        "../../envs/analysis.yaml"
    shell:
        "python {input.script} --statistics {input.statistics} "
        "--competitions {input.competitions} --timing-summary {input.summary} "
        "--output {output.headline} > {output.text} 2> {log}"
