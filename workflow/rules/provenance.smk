rule write_provenance:
    """Say where the study's results come from, also as a Workflow Run RO-Crate."""
    input:
        competitions=prepared("train") + prepared("held_out"),
        timings=WORK,
        turns=TURNS,
        results=[
            SCORES,
            TURNS,
            f"{STUDY}/statistics.csv",
            f"{STUDY}/competitions.csv",
            f"{STUDY}/competition_statistics.csv",
            f"{STUDY}/headline.json",
            f"{STUDY}/headline.txt",
            f"{STUDY}/timing/costs.csv",
        ],
        image=image_needed("analysis"),
    output:
        provenance=report(
            f"{STUDY}/provenance.json",
            caption="../report/provenance.rst",
            category="Provenance",
            labels={"file": "provenance.json"},
        ),
        crate=f"{STUDY}/ro-crate-metadata.json",
        readme=f"{STUDY}/README.md",
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
        settings=SETTINGS,
        # From functions of the input, which Snakemake does not track: what changes results runs
        # their own jobs again, and those this one.
        version=lambda wildcards, input: json.dumps(code_version()),
        snakemake=lambda wildcards, input: SNAKEMAKE_VERSION,
        images=lambda wildcards, input: images_used(),
        code=fingerprint("write_provenance", *TEMPLATES),
    shell:
        "python scripts/write_provenance.py --config {params.settings:q} --version {params.version:q} "
        "--competitions {input.competitions} --timings {input.timings} --turns {input.turns} "
        "--results {input.results} --output-dir {params.folder} "
        "--snakemake-version {params.snakemake} {params.images} > {log} 2>&1"
