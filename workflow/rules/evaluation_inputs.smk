def checkout_of_agent(wildcards):
    """What an agent of MLE-Dojo's waits for."""
    ours = API_MODELS[wildcards.name]["agent"] == "ours"
    return [] if ours else "results/mle_dojo/commit.txt"


def settings_of_api_model(wildcards):
    model = API_MODELS[wildcards.name]
    keys = ("episode", "environment", "sandbox")
    settings = {"api_model": model, **{key: config[key] for key in keys}}
    if model["agent"] != "ours":
        settings["mle_dojo"] = {key: MLE_DOJO[key] for key in ("checkout", "commit")}
    return json.dumps(settings, sort_keys=True)


def evaluated_model(wildcards):
    return checkpoint(wildcards.seed, int(wildcards.iteration))


def evaluated_names(wildcards):
    return joined(wildcards.group)


def evaluated_competitions(wildcards):
    return ancient(prepared(wildcards.group))


def graded_competitions(wildcards):
    return prepared(wildcards.group)


def evaluated_policy(wildcards):
    return "base" if int(wildcards.iteration) == 0 else "trained"


def evaluation_episodes(wildcards):
    """Per competition: the whole number for base and final policy, fewer along the curve."""
    if wildcards.group == "train":
        return config["evaluation"]["train_episodes"]
    whole = int(wildcards.iteration) in (0, ITERATIONS[-1])
    return config["evaluation"]["episodes" if whole else "curve_episodes"]


def sampling_seed(wildcards):
    """Evaluation draws apart from training, whose sampling seeds are the runs' own."""
    return 1000 + int(wildcards.seed)


def held_out_folders(iteration):
    return expand(f"{STUDY}/evaluation/{STEP}/held_out", seed=SEEDS, iteration=iteration)


def held_out_scores(iteration):
    return [f"{folder}/scores.csv" for folder in held_out_folders(iteration)]


def scores_of(own):
    """scores.csv of the base model and of the final policies of a study or a variant, per run."""
    last = own["training"]["iterations"]
    return {
        policy: [
            f"{folder}/evaluation/seed{seed}/iteration{iteration}/held_out/scores.csv"
            for seed in own["seeds"]
        ]
        for policy, folder, iteration in (
            ("base", own.get("start", STUDY), 0),
            ("trained", f"results/{own['study']}", last),
        )
    }
