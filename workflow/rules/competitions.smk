rule prepare_competition:
    input:
        script="scripts/prepare_competition.py",
        leaderboard="config/leaderboards/{competition}.csv",
    output:
        facts="results/competitions/{competition}/competition.json",
        folder=directory("results/competitions/{competition}/data"),
        timing="results/timing/prepare_competition/{competition}.json",
    log:
        "results/logs/prepare_competition/{competition}.log",
    params:
        folder="results/competitions/{competition}",
        code=fingerprint("competitions"),
    conda:
        "../../envs/rollouts.yaml"
    shell:
        "python {input.script} --competition {wildcards.competition} "
        "--leaderboard {input.leaderboard} --output-dir {params.folder} "
        "--timing {output.timing} > {log} 2>&1"


rule reference_pool:
    input:
        script="scripts/reference_pool.py",
    output:
        "results/reference_pool/{competition}.csv",
    log:
        "results/logs/reference_pool/{competition}.log",
    params:
        code=fingerprint("competitions"),
    conda:
        "../../envs/rollouts.yaml"
    shell:
        "python {input.script} --competition {wildcards.competition} "
        "--output {output} > {log} 2>&1"
