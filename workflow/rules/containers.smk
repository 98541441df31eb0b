rule containers:
    """The image of every stage family: `snakemake containers`."""
    input:
        [image_file(family) for family in FAMILIES],


rule build_container:
    """Build the image of one stage family with Apptainer, which needs no root."""
    input:
        # An image's name says what is in it; that these files are newer says nothing.
        definition=ancient("containers/{family}.def"),
        packages=ancient(["envs/{family}.post-deploy.sh", "envs/constraints.txt", "pyproject.toml"]),
    output:
        image="containers/{family}-{digest}.sif",
    log:
        "results/logs/build_container/{family}-{digest}.log",
    benchmark:
        "results/benchmarks/build_container/{family}-{digest}.tsv"
    wildcard_constraints:
        family="|".join(FAMILIES),
        digest="|".join(map(digest, FAMILIES)),
    conda:
        "../../envs/analysis.yaml"
    container:
        None
    resources:
        **growing(mem_mb=4000, runtime=60),
    params:
        # From a function of the input, which Snakemake does not track: an image on another base is
        # as good, and the next run need not name the base again.
        base=lambda wildcards, input: config["container_base"],
    shell:
        "python scripts/build_container.py --definition {input.definition} --base {params.base:q} "
        "--output {output.image} > {log} 2>&1"
