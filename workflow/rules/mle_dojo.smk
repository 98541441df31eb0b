# A study of embedded competitions has no such section, and no use for these rules.
MLE_DOJO = config["mle_dojo"] or dict.fromkeys(("checkout", "repository", "commit", "archives"), "")


localrules:
    mle_dojo_checkout,


rule mle_dojo_checkout:
    """Have MLE-Dojo at the pinned commit; what needs it takes the stamp as input.

    The checkout itself is no output: Snakemake would delete it, or a user's own, before a job.
    """
    output:
        stamp="results/mle_dojo/commit.txt",
    log:
        "results/logs/mle_dojo_checkout.log",
    conda:
        "../../envs/rollouts.yaml"
    params:
        checkout=MLE_DOJO["checkout"],
        repository=MLE_DOJO["repository"],
        commit=MLE_DOJO["commit"],
        code=fingerprint("checkout_mle_dojo"),
    shell:
        "python scripts/checkout_mle_dojo.py --repository {params.repository:q} "
        "--commit {params.commit} --checkout-dir {params.checkout:q} "
        "--stamp {output.stamp} > {log} 2>&1"
