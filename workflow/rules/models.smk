localrules:
    fetch_model,


rule fetch_model:
    """Fetch a base model from the Hugging Face hub; here, since other machines may have no network."""
    input:
        image=image_needed("rollouts"),
    output:
        model=directory("results/models/{source}/{revision}"),
    log:
        "results/logs/fetch_model/{source}/{revision}.log",
    wildcard_constraints:
        source=r"[\w.-]+(/[\w.-]+)?",
        revision="[0-9a-f]{40}",
    conda:
        "../../envs/rollouts.yaml"
    container:
        image_file("rollouts")
    # No fingerprint: what a commit holds depends on no code.
    shell:
        "HF_HUB_OFFLINE=0 python scripts/fetch_model.py --source {wildcards.source} "
        "--revision {wildcards.revision} --output-dir {output.model} > {log} 2>&1"
