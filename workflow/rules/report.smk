PAGE = sorted(map(str, Path("agent/browser/page").iterdir()))
TEMPLATES = sorted(map(str, Path("agent/evaluation/templates").iterdir()))
# All settings but those that make no results.
SETTINGS = json.dumps(
    config | {"training": config["training"] | {"wandb_project": None}}, sort_keys=True
)


rule build_trajectory_browser:
    """Write the page in which a person reads the episodes behind every number."""
    input:
        episodes=expand("{folder}/episodes.parquet", folder=EVALUATIONS + API_EVALUATIONS),
        scores=expand("{folder}/scores.csv", folder=EVALUATIONS + API_EVALUATIONS),
        shards=PLAYED,
        yardsticks=YARDSTICKS,
        base_model=f"{STUDY}/base_model",
        image=image_needed("analysis"),
    output:
        page=report(
            directory(f"{STUDY}/trajectory_browser"),
            htmlindex="index.html",
            caption="../report/trajectory_browser.rst",
            category="Episodes",
            labels={"page": "trajectory browser"},
        ),
    log:
        f"{STUDY}/logs/build_trajectory_browser.log",
    benchmark:
        f"{STUDY}/benchmarks/build_trajectory_browser.tsv"
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **growing(mem_mb=4000, runtime=60),
    params:
        evaluations=EVALUATIONS,
        api_models=f"--api-models {' '.join(API_EVALUATIONS)}" if API_EVALUATIONS else "",
        study=config["study"],
        settings=sections("rewards"),
        staleness=STALENESS,
        told=TOLD,
        scoring=JUDGED_BY,
        code=fingerprint("build_trajectory_browser", *PAGE),
    shell:
        "python scripts/build_trajectory_browser.py --evaluations {params.evaluations} "
        "{params.api_models} "
        "--shards {input.shards} --yardsticks {input.yardsticks} "
        "--tokenizer {input.base_model}/tokenizer.json --config {params.settings:q} "
        "--study {params.study} --staleness {params.staleness} --told {params.told} "
        "--scoring {params.scoring} --output-dir {output.page} > {log} 2>&1"


rule build_paper_kit:
    """Write what a paper about the study needs: numbers, methods, checklist, tables, figures."""
    input:
        headline=rules.headline.output.headline,
        summary=rules.summarise_timing.output.summary,
        results=rules.tabulate_results.output.csv,
        competitions=config["competitions"],
        figures=[drawn.pdf for drawn in FIGURES],
        captions=[drawn.caption for drawn in FIGURES],
        tables=[rules.tabulate_results.output.tex, rules.tabulate_results.output.competitions]
        + ([f"{STUDY}/tables/variants.tex"] if config["variants"] else [])
        + ([rules.tabulate_benchmark.output.tex] if BENCHMARK else []),
        image=image_needed("analysis"),
    output:
        kit=report(
            directory(f"{STUDY}/paper"),
            patterns=["{settings}.yaml"],
            caption="../report/settings.rst",
            category="Provenance",
            labels={"file": "{settings}.yaml"},
        ),
    log:
        f"{STUDY}/logs/build_paper_kit.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        settings=SETTINGS,
        code=fingerprint("build_paper_kit", *TEMPLATES),
    shell:
        "python scripts/build_paper_kit.py --config {params.settings:q} --headline {input.headline} "
        "--timing-summary {input.summary} --results {input.results} --competitions {input.competitions} "
        "--figures {input.figures} --captions {input.captions} --tables {input.tables} "
        "--output-dir {output.kit} > {log} 2>&1"


rule write_first_page:
    """Answer what a newcomer asks, for the first page of the report."""
    input:
        headline=rules.headline.output.headline,
        summary=rules.summarise_timing.output.summary,
        metrics=TRAINING_METRICS,
        competitions=config["competitions"],
        provenance=f"{STUDY}/provenance.json",
        image=image_needed("analysis"),
    output:
        page=f"{STUDY}/first_page.rst",
    log:
        f"{STUDY}/logs/write_first_page.log",
    conda:
        "../../envs/analysis.yaml"
    container:
        image_file("analysis")
    resources:
        **LIGHT,
    params:
        settings=SETTINGS,
        kit=rules.build_paper_kit.output.kit,
        browser=rules.build_trajectory_browser.output.page,
        code=fingerprint("write_first_page", *TEMPLATES),
    shell:
        "python scripts/write_first_page.py --config {params.settings:q} --headline {input.headline} "
        "--timing-summary {input.summary} --training-metrics {input.metrics} "
        "--competitions {input.competitions} --provenance {input.provenance} --paper-kit {params.kit} "
        "--trajectory-browser {params.browser} --output {output.page} > {log} 2>&1"
