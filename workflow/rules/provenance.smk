rule write_provenance:
    """Say where the study's results come from, also as a Workflow Run RO-Crate."""
    input:
        competitions=prepared("train") + prepared("held_out"),
        timings=WORK,
        turns=rules.collect_scores.output.turns,
        results=[
            rules.collect_scores.output.scores,
            *rules.compare_policies.output[:2],
            *rules.headline.output,
        ],
        image=image_needed("analysis"),
    output:
        provenance=f"{STUDY}/provenance.json",
        crate=f"{STUDY}/ro-crate-metadata.json",
        entry=f"{STUDY}/Snakefile",
    log:
        f"{STUDY}/logs/write_provenance.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        folder=subpath(output.provenance, parent=True),
        # From functions of the input, which Snakemake does not track: what changes results runs
        # their own jobs again, and those this one.
        config=lambda wildcards, input: json.dumps(config, sort_keys=True),
        version=lambda wildcards, input: SNAKEMAKE_VERSION,
        images=lambda wildcards, input: images_used(),
        code=fingerprint("write_provenance"),
    shell:
        "python scripts/write_provenance.py --config {params.config:q} "
        "--competitions {input.competitions} --timings {input.timings} --turns {input.turns} "
        "--results {input.results} --output-dir {params.folder} "
        "--snakemake-version {params.version} {params.images} > {log} 2>&1"
