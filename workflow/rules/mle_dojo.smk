localrules:
    mle_dojo_checkout,


rule mle_dojo_checkout:
    """Have MLE-Dojo at the pinned commit; what needs it takes the stamp as input.

    The checkout itself is no output: Snakemake would delete it, or a user's own, before a job.
    """
    input:
        image=image_needed("competitions"),
    output:
        stamp="results/mle_dojo/commit.txt",
    log:
        "results/logs/mle_dojo_checkout.log",
    conda:
        "../../envs/competitions.yaml"
    container:
        image_file("competitions")
    params:
        checkout=MLE_DOJO["checkout"],
        repository=MLE_DOJO["repository"],
        commit=MLE_DOJO["commit"],
        code=fingerprint("checkout_mle_dojo"),
    shell:
        "python scripts/checkout_mle_dojo.py --repository {params.repository:q} "
        "--commit {params.commit} --checkout-dir {params.checkout:q} "
        "--stamp {output.stamp} > {log} 2>&1"


rule prepare_mle_dojo_competition:
    """Write one of MLE-Dojo's competitions, from Kaggle or from an archive that is there."""
    input:
        stamp=rules.mle_dojo_checkout.output.stamp,
        image=image_needed("competitions"),
    output:
        facts="results/competitions/{competition}/competition.json",
        folder=directory("results/competitions/{competition}/data"),
        timing="results/timing/prepare_competition/{competition}.json",
    log:
        "results/logs/prepare_competition/{competition}.log",
    wildcard_constraints:
        competition="|".join(BENCHMARK) or "no-competition-of-its-own",
    conda:
        "../../envs/competitions.yaml"
    container:
        image_file("competitions")
    resources:
        **growing(mem_mb=16000, runtime=240),
        disk_mb=room_for_competition,
    params:
        folder=subpath(output.facts, parent=True),
        checkout=MLE_DOJO["checkout"],
        commit=MLE_DOJO["commit"],
        archive=archive_option,
        entry=catalogue_entry,
        group=lambda wildcards: GROUP_OF[wildcards.competition],
        dropping="--drop-leaking-columns" if MLE_DOJO["drop_leaking_columns"] else "",
        code=fingerprint("prepare_mle_dojo_competition"),
    shell:
        "python scripts/prepare_mle_dojo_competition.py --competition {wildcards.competition} "
        "--checkout-dir {params.checkout:q} --commit {params.commit} "
        "--output-dir {params.folder} {params.archive} --group {params.group} {params.dropping} "
        "--timing {output.timing} > {log} 2>&1"


rule audit_competition:
    """Look for ways in which a competition gives its answers away."""
    input:
        facts="results/competitions/{competition}/competition.json",
        image=image_needed("competitions"),
    output:
        audit="results/audits/{competition}.json",
    log:
        "results/logs/audit_competition/{competition}.log",
    conda:
        "../../envs/competitions.yaml"
    container:
        image_file("competitions")
    resources:
        **growing(mem_mb=8000, runtime=60),
    params:
        folder=subpath(input.facts, parent=True),
        code=fingerprint("audit_competition"),
    shell:
        "python scripts/audit_competition.py --competition {wildcards.competition} "
        "--folder {params.folder} --output {output.audit} > {log} 2>&1"


rule tabulate_audits:
    """Write the table of leaks; part of a study of MLE-Dojo's competitions, else on request."""
    input:
        audits=expand("results/audits/{name}.json", name=names("train") + names("held_out")),
        image=image_needed("analysis"),
    output:
        csv=table("audits", f"{STUDY}/tables/audits.csv"),
    log:
        f"{STUDY}/logs/tabulate_audits.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        code=fingerprint("tabulate_audits"),
    shell:
        "python scripts/tabulate_audits.py --audits {input.audits} "
        "--output {output.csv} > {log} 2>&1"


rule tabulate_benchmark:
    """Write MLE-Dojo's own measures beside the figures published with it."""
    input:
        scores=f"{STUDY}/scores.csv",
        table=config["competitions"],
        published="config/mle_dojo/published.csv",
        competitions=prepared("held_out"),
        image=image_needed("analysis"),
    output:
        csv=table("benchmark", f"{STUDY}/tables/benchmark.csv"),
        tex=f"{STUDY}/tables/benchmark.tex",
    log:
        f"{STUDY}/logs/tabulate_benchmark.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        kaggle=[name for name in names("held_out") if name in BENCHMARK],
        resamples=config["statistics"]["resamples"],
        seed=config["statistics"]["seed"],
        code=fingerprint("tabulate_benchmark", COVERAGE),
    shell:
        "python scripts/tabulate_benchmark.py --scores {input.scores} "
        "--competitions-table {input.table} --published {input.published} "
        "--competitions-dir results/competitions --kaggle {params.kaggle} "
        "--resamples {params.resamples} --seed {params.seed} "
        "--benchmark-csv {output.csv} --benchmark-tex {output.tex} > {log} 2>&1"
