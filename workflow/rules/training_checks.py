"""What a configuration's schema cannot say of training: how its keys fit each other."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

Config = Mapping[str, Any]
Key = tuple[str | int, ...]
Problem = tuple[Key, str]  # what is wrong where, and what to do about it


def training_problems(config: Config) -> Iterator[Problem]:
    yield from _batch_problems(config)
    yield from _algorithm_problems(config)
    yield from _staleness_problems(config)


def _batch_problems(config: Config) -> Iterator[Problem]:
    """Episodes, minibatches, processes and contexts."""
    training, ppo, sampling = config["training"], config["ppo"], config["sampling"]
    episodes, minibatch = training["episodes"], ppo["minibatch_size"]
    processes = max(1, config["resources"]["update"]["gpu"]) * config["update"]["nodes"]
    tokens = config["update"]["tokens_per_process"]
    if episodes % training["shards"]:
        yield (
            ("training", "episodes"),
            f"{episodes} must be a multiple of training.shards {training['shards']}",
        )
    if minibatch % ppo["microbatch_size"]:
        yield (
            ("ppo", "minibatch_size"),
            f"{minibatch} must be a multiple of ppo.microbatch_size {ppo['microbatch_size']}",
        )
    share = processes * (ppo["microbatch_size"] if tokens is None else 1)
    if minibatch % share:
        yield (
            ("ppo", "minibatch_size"),
            f"{minibatch} must be a multiple of {share}, a microbatch in each of the {processes} "
            "processes of resources.update.gpu and update.nodes",
        )
    if tokens is not None and tokens < sampling["context_tokens"]:
        yield (
            ("update", "tokens_per_process"),
            f"{tokens} is less than the {sampling['context_tokens']} of sampling.context_tokens, "
            "which one episode may have: raise it",
        )
    if minibatch > episodes:
        yield (
            ("ppo", "minibatch_size"),
            f"{minibatch} is more than training.episodes {episodes}: lower it",
        )
    if sampling["max_new_tokens"] >= sampling["context_tokens"]:
        yield (
            ("sampling", "max_new_tokens"),
            f"{sampling['max_new_tokens']} leaves no room for a prompt within "
            f"sampling.context_tokens {sampling['context_tokens']}: lower it",
        )
    if training["rft_iterations"] > training["iterations"]:
        yield (
            ("training", "rft_iterations"),
            f"{training['rft_iterations']} are more than training.iterations "
            f"{training['iterations']}: lower it",
        )


def _algorithm_problems(config: Config) -> Iterator[Problem]:
    """Options of an update that rule each other out."""
    ppo, rewards, training = config["ppo"], config["rewards"], config["training"]
    if ppo["critic_warmup"] and ppo["advantage"] != "gae":
        yield (
            ("ppo", "critic_warmup"),
            f"{ppo['critic_warmup']}, but ppo.advantage {ppo['advantage']} has no critic: "
            "set it to 0",
        )
    if ppo["critic_warmup"] >= training["iterations"]:
        yield (
            ("ppo", "critic_warmup"),
            f"{ppo['critic_warmup']} of training.iterations {training['iterations']} leaves none "
            "to the actor: lower it",
        )
    if 0 < ppo["critic_warmup"] <= training["rft_iterations"]:
        yield (
            ("ppo", "critic_warmup"),
            f"{ppo['critic_warmup']} counts from the first iteration and is over before PPO begins,"
            f" after training.rft_iterations {training['rft_iterations']}: set it to 0, or to more",
        )
    if ppo["duration_aware"] and config["sandbox"]["remember_programs"]:
        yield (
            ("sandbox", "remember_programs"),
            "true, but remembered programs take no time, by which ppo.duration_aware weights: set "
            "it to false",
        )
    if (
        rewards["milestone_credit"]
        and 2 * rewards["milestone_credit"] >= rewards["failure_penalty"]
    ):
        yield (
            ("rewards", "milestone_credit"),
            f"{rewards['milestone_credit']} is not below half of rewards.failure_penalty "
            f"{rewards['failure_penalty']}: a failure must still cost",
        )


def _staleness_problems(config: Config) -> Iterator[Problem]:
    if config["training"]["staleness"] and config["update"]["rollout_correction"] is None:
        yield (
            ("update", "rollout_correction"),
            "none, but with training.staleness 1 an older policy plays, for which the update must "
            "correct: set it, as in {level: token, threshold: 2.0}",
        )


def group_problems(config: Config) -> Iterator[Problem]:
    """Estimators that compare episodes of one competition need two of each that is played."""
    estimator, episodes = config["ppo"]["advantage"], config["training"]["episodes"]
    sampling = config["training"]["competition_sampling"]
    groups = pd.read_csv(config["competitions"], sep="\t", comment="#")["group"]
    trained_on = int((groups == "train").sum())
    if estimator not in ("grpo", "rloo"):
        return
    if sampling != "uniform":
        yield (
            ("training", "competition_sampling"),
            f"{sampling} may play a competition once in an iteration, but ppo.advantage "
            f"{estimator} compares episodes of one: set it to uniform, or ppo.advantage to "
            "reinforce_plus_plus",
        )
    if episodes < 2 * trained_on:
        yield (
            ("training", "episodes"),
            f"{episodes} is less than two for each of the {trained_on} competitions trained on, "
            f"which ppo.advantage {estimator} compares: raise it",
        )
