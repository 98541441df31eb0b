# Jobs of a variant are those of the study under its own configuration and in its own folder. What a
# variant shares with the study (competitions; where only learning differs, the base model, its
# evaluation and the first iteration's episodes) is the study's, and computed once.
VARIANTS = variants(config)
COMPARED = {"": config} | VARIANTS


for variant, own in VARIANTS.items():

    module:
        name: variant
        snakefile:
            "../variant.smk"
        config:
            own

    use rule * from variant as variant*


rule compare_variants:
    """Tabulate what the study's variants are worth, beside the study as it is configured."""
    input:
        scores=sorted(
            {path for own in COMPARED.values() for path in sum(scores_of(own).values(), [])}
        ),
        image=image_needed("analysis"),
    output:
        csv=table("variants", f"{STUDY}/tables/variants.csv"),
        tex=f"{STUDY}/tables/variants.tex",
    log:
        f"{STUDY}/logs/compare_variants.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        variants=json.dumps(
            [
                {"name": name.removesuffix("__"), "changes": changes(own, config)} | scores_of(own)
                for name, own in COMPARED.items()
            ]
        ),
        bootstrap=BOOTSTRAP,
        planned=PLANNED,
        code=fingerprint("compare_variants", COVERAGE),
    shell:
        "python scripts/compare_variants.py --variants {params.variants:q} {params.bootstrap} "
        "--planned-runs {params.planned} "
        "--variants-csv {output.csv} --variants-tex {output.tex} > {log} 2>&1"
