"""Advantages by verl's estimators (verl/trainer/ppo/core_algos.py), for a whole batch at once."""

import torch
from tensordict import TensorDict
from verl import DataProto
from verl.trainer.config.algorithm import AlgoConfig, KLControlConfig
from verl.trainer.ppo.core_algos import AdvantageEstimator, get_kl_controller
from verl.trainer.ppo.ray_trainer import apply_kl_penalty, compute_advantage

from agent.core.records import PPOSettings
from agent.wrappers.verl_rows import first_rows


def estimate_advantages(rows: TensorDict, settings: PPOSettings) -> None:
    """Add `advantages` and `returns` by the estimator of `settings.advantage`.

    gae: arXiv 1506.02438, with the critic's `values`, whitened; observation tokens are skipped, so
        that an action token's successor is the next action token.
    grpo: arXiv 2402.03300, an episode's return less the mean of its group, over their deviation.
    rloo: arXiv 2402.14740, an episode's return less the mean of the others of its group.
    reinforce_plus_plus: arXiv 2501.03262, discounted returns, whitened.

    The middle two compare episodes, so all segments of one have the advantage of the whole.
    With `kl_in: reward` each token first pays for its divergence from the reference policy
    (estimator k1). The gradient's weights come last, after whitening: the policy's loss is
    linear in the advantage, so they weight it and leave what is clipped as it is.
    """
    read = ["response_mask", "token_level_scores", "old_log_probs", "ref_log_prob"]
    if settings.advantage == "gae":
        read.append("values")
    batch = DataProto(rows.select(*read), {"uid": rows["group"].numpy()})
    if settings.kl_in == "reward":
        fixed = get_kl_controller(KLControlConfig(kl_coef=settings.kl_coef))
        apply_kl_penalty(batch, fixed, kl_penalty="kl")
    else:
        batch.batch["token_level_rewards"] = rows["token_level_scores"]
    if settings.advantage in ("grpo", "rloo"):
        episodes = _whole_episodes(rows, batch.batch["token_level_rewards"])
        estimated = _estimate(episodes, settings)[rows["episode"]] * rows["response_mask"]
        rows["returns"] = estimated
    else:
        estimated = _estimate(batch, settings)
        rows["returns"] = batch.batch["returns"]
    rows["advantages"] = estimated * rows["gradient_weights"]


def _estimate(batch: DataProto, settings: PPOSettings) -> torch.Tensor:
    config = AlgoConfig(gamma=settings.gamma, lam=settings.gae_lambda)
    estimator = AdvantageEstimator(settings.advantage)
    compute_advantage(batch, estimator, settings.gamma, settings.gae_lambda, config=config)
    advantages: torch.Tensor = batch.batch["advantages"]
    return advantages


def _whole_episodes(rows: TensorDict, rewards: torch.Tensor) -> DataProto:
    """Each episode as one token: it earns its first row's scores and pays what all rows pay."""
    is_first, scores = first_rows(rows), rows["token_level_scores"]
    earned = torch.where(is_first, scores.sum(1), 0.0) + (rewards - scores).sum(1)
    totals = torch.zeros(int(is_first.sum())).index_add(0, rows["episode"], earned)[:, None]
    columns = {"token_level_rewards": totals, "response_mask": torch.ones_like(totals)}
    return DataProto.from_dict(columns, {"uid": rows["group"][is_first].numpy()})
