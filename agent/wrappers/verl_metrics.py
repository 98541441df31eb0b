"""What an update reports, from its rows and from what verl's workers measured while training."""

from typing import Any

import numpy as np
import torch
from tensordict import TensorDict

from agent.wrappers.verl_rows import first_rows


def update_metrics(
    rows: TensorDict, entropy: torch.Tensor, actor: dict[str, Any], critic: dict[str, Any]
) -> dict[str, float]:
    """One row of numbers; means are over action tokens, gradient steps or, of returns, episodes.

    What was not there to be measured, without a critic or while it warms up, is NaN.
    """
    mask = rows["response_mask"].bool()
    is_first = first_rows(rows) & mask.any(dim=1)  # others only fill a minibatch
    old, returns = rows["old_log_probs"][mask], rows["returns"][mask]
    values = rows["values"][mask] if critic else torch.full_like(returns, np.nan)
    residuals = returns - values if critic else returns
    from_rollout = rows["rollout_log_probs"][mask] - old
    measured = {
        "action_tokens": mask.sum(),
        "mean_return": rows["token_level_scores"][is_first].sum() / is_first.sum(),
        "mean_value": values.mean(),
        "advantage_std": residuals.std(correction=0),
        "explained_variance": 1 - (returns - values).var(correction=0) / returns.var(correction=0),
        "entropy": entropy[mask].mean(),
        "reference_kl": (old - rows["ref_log_prob"][mask]).mean(),
        "rollout_kl": from_rollout.mean(),
        "rollout_logprob_difference": from_rollout.abs().mean(),
        "policy_loss": np.mean(actor.get("actor/pg_loss", np.nan)),
        "approx_kl": np.mean(actor.get("actor/ppo_kl", np.nan)),
        "clip_fraction": np.mean(actor.get("actor/pg_clipfrac", np.nan)),
        "gradient_norm": np.mean(actor.get("grad_norm", np.nan)),
        "value_loss": np.mean(critic.get("critic/vf_loss", np.nan)),
        "critic_gradient_norm": np.mean(critic.get("grad_norm", np.nan)),
    }
    return {name: float(number) for name, number in measured.items()}
