from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


onstart:
    if any(job.rule.name.endswith(PLAYERS) for job in workflow.dag.needrun_jobs()):
        check_vllm()


include: "workflow/rules/running.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/containers.smk"
include: "workflow/rules/competitions.smk"
include: "workflow/rules/mle_dojo.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/training_inputs.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/evaluation_inputs.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/provenance.smk"
include: "workflow/rules/variants.smk"


rule all:
    """The whole study: headline, tables, figures and episodes to read."""
    default_target: True
    input:
        rules.headline.output,
        rules.tabulate_results.output,
        rules.tabulate_costs.output,
        rules.plot_learning_curves.output,
        rules.plot_competition_changes.output,
        rules.plot_performance_profiles.output,
        rules.plot_score_distributions.output,
        rules.plot_cost_against_score.output,
        rules.plot_action_mix.output,
        rules.plot_training_metrics.output,
        rules.plot_time_split.output,
        rules.build_trajectory_browser.output,
        rules.write_provenance.output,
        rules.build_paper_kit.output,
        rules.write_first_page.output,
        published(SEEDS, ITERATIONS) if config["training"]["wandb_project"] else [],
        [*rules.compare_variants.output] if config["variants"] else [],
        [*rules.tabulate_audits.output, *rules.tabulate_benchmark.output] if BENCHMARK else [],


rule baseline:
    """The base model, played and graded on the held-out competitions."""
    input:
        held_out_scores(0),


rule training:
    """Every run up to its last checkpoint."""
    input:
        [checkpoint(seed, ITERATIONS[-1]) for seed in SEEDS],
