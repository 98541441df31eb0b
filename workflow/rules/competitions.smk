rule prepare_competition:
    """Write one competition of the embedded suite in MLE-Dojo's format."""
    input:
        leaderboard="config/leaderboards/{competition}.csv",
        image=image_needed("competitions"),
    output:
        facts="results/competitions/{competition}/competition.json",
        folder=directory("results/competitions/{competition}/data"),
        timing="results/timing/prepare_competition/{competition}.json",
    log:
        "results/logs/prepare_competition/{competition}.log",
    wildcard_constraints:
        competition="|".join(EMBEDDED),
    conda:
        "../../envs/competitions.yaml"
    container:
        image_file("competitions")
    resources:
        **growing(mem_mb=1000, runtime=4),
    params:
        folder=subpath(output.facts, parent=True),
        # How a metric is computed is no matter of preparing; how it is described and ranked is.
        metrics=Path(SCORING).read_text().partition("METRICS: ")[2],
        code=fingerprint("prepare_competition", without=(SCORING,)),
    shell:
        "python scripts/prepare_competition.py --competition {wildcards.competition} "
        "--leaderboard {input.leaderboard} --output-dir {params.folder} "
        "--timing {output.timing} > {log} 2>&1"


rule reference_pool:
    """Score the reference pipelines on one competition; only on request, as boards are shipped."""
    input:
        image=image_needed("competitions"),
    output:
        "results/reference_pool/{competition}.csv",
    log:
        "results/logs/reference_pool/{competition}.log",
    benchmark:
        "results/benchmarks/reference_pool/{competition}.tsv"
    conda:
        "../../envs/competitions.yaml"
    container:
        image_file("competitions")
    resources:
        **growing(mem_mb=4000, runtime=120),
    params:
        code=fingerprint("reference_pool"),
    shell:
        "python scripts/reference_pool.py --competition {wildcards.competition} "
        "--output {output} > {log} 2>&1"
