STYLE = "agent/evaluation/house.mplstyle"


rule plot_learning_curves:
    """Draw scores over PPO iterations."""
    input:
        scores=SCORES,
        metrics=TRAINING_METRICS,
        image=image_needed("analysis"),
    output:
        **figure("learning_curves", "Results"),
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
        staleness=STALENESS,
        told=TOLD,
        scoring=JUDGED_BY,
        code=fingerprint("plot_learning_curves", STYLE, COVERAGE),
    shell:
        "python scripts/plot_learning_curves.py --scores {input.scores} --training-metrics {input.metrics} "
        "{params.bootstrap} --staleness {params.staleness} --told {params.told} "
        "--scoring {params.scoring} "
        "--pdf {output.pdf} --svg {output.svg} --png {output.png} "
        "--caption {output.caption} > {log} 2>&1"


rule plot_competition_changes:
    """Draw base and trained scores of every held-out competition."""
    input:
        competitions=rules.compare_policies.output.competitions,
        image=image_needed("analysis"),
    output:
        **figure("competition_changes", "Results"),
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
        code=fingerprint("plot_competition_changes", STYLE, COVERAGE),
    shell:
        "python scripts/plot_competition_changes.py --competitions {input.competitions} "
        "--resamples {params.resamples} --pdf {output.pdf} --svg {output.svg} --png {output.png} "
        "--caption {output.caption} > {log} 2>&1"


rule plot_performance_profiles:
    """Draw performance profiles and the IQM of every policy."""
    input:
        scores=SCORES,
        statistics=rules.compare_policies.output.statistics,
        image=image_needed("analysis"),
    output:
        **figure("performance_profiles", "Results"),
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
        code=fingerprint("plot_performance_profiles", STYLE, COVERAGE),
    shell:
        "python scripts/plot_performance_profiles.py --scores {input.scores} --statistics {input.statistics} "
        "{params.bootstrap} --pdf {output.pdf} --svg {output.svg} --png {output.png} "
        "--caption {output.caption} > {log} 2>&1"


rule plot_score_distributions:
    """Draw how the scores of single episodes are spread."""
    input:
        scores=SCORES,
        image=image_needed("analysis"),
    output:
        **figure("score_distributions", "Results"),
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
        "--png {output.png} --caption {output.caption} > {log} 2>&1"


rule plot_cost_against_score:
    """Draw scores against what training had used until then."""
    input:
        scores=SCORES,
        metrics=TRAINING_METRICS,
        image=image_needed("analysis"),
    output:
        **figure("cost_against_score", "Results"),
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
        code=fingerprint("plot_cost_against_score", STYLE, COVERAGE),
    shell:
        "python scripts/plot_cost_against_score.py --scores {input.scores} --training-metrics {input.metrics} "
        "{params.bootstrap} --pdf {output.pdf} --svg {output.svg} --png {output.png} "
        "--caption {output.caption} > {log} 2>&1"


rule plot_action_mix:
    """Draw what the policy does over PPO iterations."""
    input:
        turns=TURNS,
        image=image_needed("analysis"),
    output:
        **figure("action_mix", "Behaviour"),
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
        "--png {output.png} --caption {output.caption} > {log} 2>&1"


rule plot_training_metrics:
    """Draw the health of PPO."""
    input:
        metrics=TRAINING_METRICS,
        image=image_needed("analysis"),
    output:
        **figure("training_metrics", "Behaviour"),
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
        "> {log} 2>&1"


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
