"""The methods a paper states: what a configuration does, all of it and nothing else."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from made_paper import configured, first_page, shipped, synthetic_study, told

from agent.evaluation.paper import Study, paper_texts
from agent.evaluation.tables import results_latex

# What methods may say of a study, each by words that nothing else in them has.
TOPICS = {
    "in turn": "play the training competitions in turn",
    "category": "each type of task equally often",
    "learnability": "the variance of its outcomes",
    "staleness": "played by the policy before the newest one",
    "RFT": "Rejection-sampled fine-tuning",
    "PPO": "PPO's clipped objective",
    "GAE": "generalised advantage estimation",
    "critic": "that of the critic",
    "GRPO": "(GRPO, arXiv:2402.03300)",
    "RLOO": "(RLOO, arXiv:2402.14740)",
    "REINFORCE++": "REINFORCE++ (arXiv:2501.03262",
    "gamma": r"$\gamma",
    "durations": "as the action took seconds",
    "critic warm-up": "the critic is trained alone",
    "dual clip": "count at most",
    "token weights": "Tokens are weighted",
    "episode weights": "Episodes are weighted",
    "KL in loss": "in the loss holds",
    "KL in reward": "in the reward holds",
    "KL to base": "holds the policy to the base",
    "KL to tuned": "holds the policy to what fine-tuning ended with",
    "no KL": "There is no KL penalty",
    "entropy": "bonus for entropy",
    "reward": "The reward of a turn",
    "milestones": "two milestones",
    "sum": "The last turn of an episode gets the sum",
    "LoRA": "(LoRA",
    "bfloat16": "bfloat16",
    "confined": "runs confined",
    "unconfined": "unconfined",
    "feedback half": "the feedback half gives",
    "final half": "The final half is read by the evaluation alone",
    "judged by all": "The evaluation counts all answers",
    "all answers": "feedback and evaluation share answers",
    "forgets": "oldest turns are forgotten",
    "summary": "a summary replaces earlier turns",
}
SETTING = {"in turn", "confined", "feedback half", "final half"}
KL = {"KL in loss", "KL to base"}
PPO = {"PPO", "GAE", "critic", "gamma", "dual clip", "reward"} | KL
USUAL = SETTING | PPO
WITHOUT_CRITIC = USUAL - {"GAE", "critic"}
ALGORITHMS = "config/algorithms.yaml"
SHIPPED = {
    ("config/config.yaml", ""): USUAL,
    ("config/smoke.yaml", ""): USUAL,
    ("config/qwen7b.yaml", ""): USUAL | {"token weights", "bfloat16", "forgets"},
    (ALGORITHMS, ""): USUAL,
    (ALGORITHMS, "grpo"): WITHOUT_CRITIC - {"gamma"} | {"GRPO"},
    (ALGORITHMS, "rloo"): WITHOUT_CRITIC - {"gamma"} | {"RLOO"},
    (ALGORITHMS, "reinforce_plus_plus"): WITHOUT_CRITIC | {"REINFORCE++"},
    (ALGORITHMS, "critic_warmup"): USUAL | {"critic warm-up"},
    (ALGORITHMS, "no_clip_higher"): USUAL,
    (ALGORITHMS, "little_dual_clip"): USUAL,
    (ALGORITHMS, "kl_in_reward"): USUAL - {"KL in loss"} | {"KL in reward"},
    (ALGORITHMS, "duration_aware"): USUAL | {"durations"},
    (ALGORITHMS, "trajectory_placement"): USUAL | {"sum"},
    (ALGORITHMS, "milestone_credit"): USUAL | {"milestones"},
    (ALGORITHMS, "rft_then_ppo"): USUAL - {"KL to base"} | {"RFT", "KL to tuned"},
    (ALGORITHMS, "rft_alone"): SETTING | {"RFT"},
    (ALGORITHMS, "learnability"): USUAL - {"in turn"} | {"learnability"},
    (ALGORITHMS, "category"): USUAL - {"in turn"} | {"category"},
}
CORRECTION = {"level": "token", "threshold": 2.5}
LORA = {"rank": 7, "alpha": 13, "targets": ["q_proj"]}
# Options that no configuration here takes: what they change.
CHANGED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "one step off-policy": (
        {"training.staleness": 1, "update.rollout_correction": CORRECTION},
        USUAL | {"staleness", "token weights"},
    ),
    "correction of episodes": (
        {"update.rollout_correction": CORRECTION | {"level": "sequence"}},
        USUAL | {"episode weights"},
    ),
    "LoRA": ({"update.lora": LORA}, USUAL | {"LoRA"}),
    "no KL": ({"ppo.kl_coef": 0.0}, USUAL - KL | {"no KL"}),
    "entropy": ({"ppo.entropy_coef": 0.01}, USUAL | {"entropy"}),
    "summaries": ({"sampling.context_policy": "segment"}, USUAL | {"summary"}),
    "judged by all answers": (
        {"evaluation.scoring": "upstream"},
        USUAL - {"final half"} | {"judged by all"},
    ),
    "all answers": (
        {"environment.scoring": "upstream", "evaluation.scoring": "upstream"},
        USUAL - {"feedback half", "final half"} | {"all answers"},
    ),
}


@pytest.fixture(scope="module")
def study() -> Study:
    return synthetic_study()


def methods(study: Study, config: dict[str, Any]) -> str:
    """On one line, since words of a phrase may stand on two."""
    return " ".join(paper_texts(configured(study, config))["methods.tex"].split())


def topics(text: str) -> set[str]:
    return {topic for topic, words in TOPICS.items() if words in text}


def with_changes(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(config)
    for key, value in changes.items():
        section, _, name = key.partition(".")
        assert name in changed[section]
        changed[section][name] = value
    return changed


@pytest.mark.parametrize(("path", "variant"), SHIPPED)
def test_methods_say_what_a_configuration_does_and_nothing_else(
    study: Study, path: str, variant: str
) -> None:
    assert topics(methods(study, shipped(path, variant))) == SHIPPED[path, variant]


def test_every_variant_of_the_algorithms_is_among_those() -> None:
    listed = {variant for path, variant in SHIPPED if path == ALGORITHMS} - {""}
    assert listed == set(shipped(ALGORITHMS)["variants"])


@pytest.mark.parametrize("name", CHANGED)
def test_methods_say_what_another_option_does(study: Study, name: str) -> None:
    changes, expected = CHANGED[name]
    assert topics(methods(study, with_changes(shipped("config/config.yaml"), changes))) == expected


@pytest.mark.parametrize(
    ("variant", "used", "unused"),
    [
        (
            "",
            {"ppo.learning_rate": 0.0777, "ppo.critic_learning_rate": 0.0778, "ppo.epochs": 77}
            | {"ppo.gae_lambda": 0.777, "ppo.dual_clip": 77.5, "ppo.minibatch_size": 779},
            {"rft.learning_rate": 0.0776, "rft.epochs": 78},
        ),
        (
            "rft_then_ppo",
            {"ppo.learning_rate": 0.0777, "rft.learning_rate": 0.0776, "rft.epochs": 78}
            | {"rft.best_per_competition": 776, "rft.minimum_position": 0.776, "ppo.kl_coef": 0.77},
            {},
        ),
        (
            "rft_alone",
            {"rft.learning_rate": 0.0776, "ppo.minibatch_size": 779, "ppo.gradient_clip": 77.9},
            {"ppo.learning_rate": 0.0777, "ppo.critic_learning_rate": 0.0778, "ppo.epochs": 77}
            | {"ppo.clip_range": 0.77, "ppo.kl_coef": 0.771, "rewards.failure_penalty": 0.772},
        ),
        (
            "grpo",
            {"ppo.learning_rate": 0.0777, "ppo.clip_range_high": 0.779},
            {"ppo.critic_learning_rate": 0.0778, "ppo.gae_lambda": 0.777, "ppo.gamma": 0.775},
        ),
        ("critic_warmup", {"ppo.critic_warmup": 77}, {}),
        ("milestone_credit", {"rewards.milestone_credit": 0.0177}, {}),
    ],
)
def test_a_number_is_quoted_where_it_is_used_and_only_there(
    study: Study, variant: str, used: dict[str, float], unused: dict[str, float]
) -> None:
    text = methods(study, with_changes(shipped(ALGORITHMS, variant), used | unused))
    words = text.replace("$", " ").replace(",", " ").replace("]", " ").split()
    quoted = {word.rstrip(").;") for word in words}
    assert {str(value) for value in used.values()} <= quoted
    assert not {str(value) for value in unused.values()} & quoted


def test_adapters_are_quoted_with_rank_and_alpha(study: Study) -> None:
    config = with_changes(shipped("config/config.yaml"), {"update.lora": LORA})
    assert r"adapters of rank 7 are trained (LoRA, $\alpha = 13$" in methods(study, config)


@pytest.mark.parametrize(
    ("sandbox", "is_confined"),
    [
        ("landlock (seccomp, landlock 6); namespaces (seccomp)", True),
        ("limits", False),
        ("limits; namespaces (seccomp)", False),
        ("none (MLE-Dojo's own runner)", False),
    ],
)
def test_programs_are_called_confined_only_where_all_of_them_were(
    study: Study, sandbox: str, is_confined: bool
) -> None:
    used = told(study, sandbox=sandbox)
    texts = paper_texts(used)
    assert topics(methods(used, dict(study.config))) >= {
        "confined" if is_confined else "unconfined"
    }
    assert ("runs confined" in texts["methods.tex"].replace("\n", " ")) == is_confined
    answer = "Yes" if is_confined else "No"
    assert rf"\textbf{{Safeguards.}} \{answer}{{}}" in texts["checklist.tex"]
    assert ("Programs ran confined" in first_page(used).astext()) == is_confined


API_MODELS = [
    {"name": "gpt_4o", "model": "gpt-4o_2024", "agent": "ours"},
    {"name": "tree", "model": "some-model", "agent": "aide"},
]


def test_every_policy_of_the_table_is_defined(study: Study) -> None:
    config = dict(study.config)
    config["evaluation"] = config["evaluation"] | {"api_models": API_MODELS}
    text = " ".join(methods(study, config).split())
    rows = results_latex(study.results).splitlines()[4:-2]
    assert len(rows) == 7
    for row in rows:
        policy = row.partition(" &")[0].replace("best of 2", r"best of \resBestOfNAttempts{}")
        assert policy in ("Base", "Trained") or rf"\emph{{{policy}}}" in text
    assert r"over the \resNTrainCompetitions{} training competitions" in text
    assert r"\emph{Gpt 4o} is the model \texttt{gpt-4o\_2024} behind an API, which plays" in text
    assert (
        r"\texttt{some-model} behind an API, which plays the same competitions as MLE-Dojo's"
        in text
    )
    assert r"\resNComparisons{} in all" in text
    assert study.headline["n_comparisons"] == len(study.results) - 1


def test_a_study_without_a_reference_pool_has_no_fixed_programs(study: Study) -> None:
    pool = ["best_fixed_program", "fixed_portfolio", "random_program"]
    results = study.results[~study.results["policy"].isin(pool)]
    text = methods(replace(study, results=results), dict(study.config))
    assert "fixed program" not in text and "portfolio" not in text
    assert r"\emph{Random" not in text and "sample file" in text


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("", "3 updates by PPO with"),
        ("grpo", "3 updates by GRPO with"),
        ("rft_then_ppo", "3 updates by rejection-sampled fine-tuning (the first 1) and PPO with"),
        ("rft_alone", "3 updates by rejection-sampled fine-tuning with"),
    ],
)
def test_the_first_page_names_what_trained(study: Study, variant: str, words: str) -> None:
    used = configured(study, shipped(ALGORITHMS, variant))
    assert words in " ".join(first_page(used).astext().split())


def test_nothing_measured_by_a_clock_is_said_to_repeat(study: Study) -> None:
    for variant in ("", "duration_aware"):
        used = configured(study, shipped(ALGORITHMS, variant))
        for text in (paper_texts(used)["checklist.tex"], first_page(used).astext()):
            assert ("byte for byte" in text) == (variant == "")


def test_what_was_measured_of_the_interval_over_data_sets_is_said(study: Study) -> None:
    noted = told(study, gain_ci_by_data_set_note="5 data sets: held the truth in 80% of 400")
    texts = paper_texts(noted)
    assert r"Measured: 5 data sets: held the truth in 80\% of 400." in texts["methods.tex"]
    assert "Measured: 5 data sets: held the truth in 80% of 400." in first_page(noted).astext()


@pytest.mark.parametrize("variant", ["", "rft_alone"])
def test_the_interval_over_data_sets_never_stands_alone(study: Study, variant: str) -> None:
    used = configured(study, shipped(ALGORITHMS, variant))
    texts = paper_texts(used)
    assert "resGainCiByDataSet" not in texts["paper.tex"] + texts["checklist.tex"]
    page = " ".join(first_page(used).astext().split())
    for text, mark in (
        (methods(study, dict(used.config)), "resGainCiByDataSetLow"),
        (page, "data sets are ["),
    ):
        after = text.partition(mark)[2][:250]
        assert "too narrow: they rest on 5 data sets and hold the training runs fixed" in after
