"""verl's training workers for the actor and the critic: built, asked, trained, saved.

Importing this module imports verl (seconds) and asks for verl's platform to be set before, so only
`verl_wrapper` imports it, when an update runs. Each worker wraps one model in FSDP2 and runs SPMD:
every process of the group calls the same function with its own rows.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from tensordict import TensorDict
from torch import distributed
from transformers.utils import is_flash_attn_2_available
from verl.trainer.config import CheckpointConfig
from verl.utils import tensordict_utils
from verl.utils.metric import Metric
from verl.workers.config import (
    FSDPActorConfig,
    FSDPCriticConfig,
    FSDPEngineConfig,
    FSDPOptimizerConfig,
    HFModelConfig,
    TrainingWorkerConfig,
)
from verl.workers.engine_workers import TrainingWorker
from verl.workers.utils.losses import ppo_loss, value_loss
from verl.workers.utils.padding import no_padding_2_padding

from agent.core.records import PPOSettings, UpdateSettings
from agent.wrappers.verl_engines import STRATEGY

RESUME = ["model", "optimizer", "extra"]  # extra: learning-rate scheduler and random state
NO_FLASH_ATTENTION = (
    "update: flash-attn is not installed: attention is slower, and a forward pass pads its episodes"
    " to the longest, which may be several times update.tokens_per_process: pip install flash-attn"
    " --no-build-isolation (it needs nvcc), or set update.tokens_per_process to null, which leaves"
    " ppo.microbatch_size episodes to a forward pass"
)


def build_actor(model: Path, settings: PPOSettings, compute: UpdateSettings) -> TrainingWorker:
    """The policy with its PPO loss (arXiv 1707.06347, token mean), from a Hugging Face folder."""
    say_what_is_slow(compute)
    loss = FSDPActorConfig(
        strategy=STRATEGY,
        rollout_n=1,
        ppo_mini_batch_size=settings.minibatch_size,
        ppo_micro_batch_size_per_gpu=settings.microbatch_size,
        clip_ratio_low=settings.clip_range,
        clip_ratio_high=settings.clip_range_high,
        clip_ratio_c=settings.dual_clip,
        entropy_coeff=settings.entropy_coef,
        use_kl_loss=settings.kl_in == "loss" and settings.kl_coef > 0,
        kl_loss_coef=settings.kl_coef,
        kl_loss_type="low_var_kl",
        loss_agg_mode="token-mean",
        use_torch_compile=False,
    )
    worker = _build("language_model", model, settings.learning_rate, settings, compute)
    worker.set_loss_fn(partial(_policy_loss, loss))
    return worker


def _policy_loss(
    config: FSDPActorConfig, model_output: Any, data: TensorDict, dp_group: Any = None
) -> tuple[torch.Tensor, dict[str, Any]]:
    """verl's, whose diagnostics become means over the tokens of a whole minibatch, as its loss is.

    verl reports their mean in each forward pass, whatever number of tokens that had.
    """
    loss, metrics = ppo_loss(config, model_output, data, dp_group)
    share = data["response_mask"].sum() / data["batch_num_tokens"] * data["dp_size"]
    for name in ("actor/ppo_kl", "actor/pg_clipfrac"):
        metrics[name] = Metric("sum", metrics[name].aggregate() * share)
    return loss, metrics


def build_critic(model: Path, settings: PPOSettings, compute: UpdateSettings) -> TrainingWorker:
    """A value model: the body of `model` under a new linear head."""
    loss = FSDPCriticConfig(
        strategy=STRATEGY,
        ppo_mini_batch_size=settings.minibatch_size,
        ppo_micro_batch_size_per_gpu=settings.microbatch_size,
    )
    worker = _build("value_model", model, settings.critic_learning_rate, settings, compute)
    worker.set_loss_fn(partial(value_loss, config=loss))
    return worker


def _build(
    model_type: Literal["language_model", "value_model"],
    model: Path,
    learning_rate: float,
    settings: PPOSettings,
    compute: UpdateSettings,
) -> TrainingWorker:
    is_critic = model_type == "value_model"
    # An actor's adapter is all that training changes; a critic's head changes, too.
    adapter_only = compute.lora is not None and not is_critic
    configuration = TrainingWorkerConfig(
        model_type=model_type,
        model_config=_model_config(model, is_critic, compute),
        engine_config=_engine_config(settings.microbatch_size, compute),
        optimizer_config=FSDPOptimizerConfig(
            lr=learning_rate,
            weight_decay=0.0,
            clip_grad=settings.gradient_clip,
            override_optimizer_config={"eps": settings.adam_epsilon},
        ),
        checkpoint_config=CheckpointConfig(
            save_contents=RESUME, load_contents=RESUME, save_lora_only=adapter_only
        ),
    )
    worker = TrainingWorker(configuration)
    worker.reset()
    return worker


def say_what_is_slow(compute: UpdateSettings) -> None:
    """One line on standard error where an update could use flash-attention, but does not."""
    missing = _could_use_flash_attention(compute) and not is_flash_attn_2_available()
    if missing and distributed.get_rank() == 0:
        print(NO_FLASH_ATTENTION, file=sys.stderr)


def _could_use_flash_attention(compute: UpdateSettings) -> bool:
    """It knows GPUs and half precision only."""
    return torch.cuda.is_available() and compute.precision == "bf16"


def _model_config(model: Path, is_critic: bool, compute: UpdateSettings) -> HFModelConfig:
    flash = _could_use_flash_attention(compute) and is_flash_attn_2_available()
    overrides: dict[str, Any] = {"attn_implementation": "flash_attention_2" if flash else "sdpa"}
    if is_critic:
        overrides |= {"num_labels": 1, "classifier_dropout": 0.0}
    lora = compute.lora
    adapter: dict[str, Any] = {}
    if lora is not None:
        adapter = {"lora_rank": lora.rank, "lora_alpha": lora.alpha}
        adapter["target_modules"] = list(lora.targets)
    return HFModelConfig(
        path=str(model),
        load_tokenizer=False,
        override_config=overrides,
        use_remove_padding=flash,
        enable_gradient_checkpointing=compute.gradient_checkpointing,
        **adapter,
    )


def _engine_config(microbatch_size: int, compute: UpdateSettings) -> FSDPEngineConfig:
    """Trained weights are float32; a model that LoRA leaves as it is takes the precision's type."""
    tokens: Any = compute.tokens_per_process  # verl's annotation lacks its own default, None
    return FSDPEngineConfig(
        strategy=STRATEGY,
        model_dtype="fp32" if compute.lora is None else compute.precision,
        mixed_precision={
            "param_dtype": compute.precision,
            "reduce_dtype": "fp32",
            "buffer_dtype": "fp32",
        },
        use_torch_compile=False,
        # Else each process would keep the whole model's gradients, 30 GB for 7B, until the last
        # forward pass of a minibatch, instead of its share of them.
        use_no_sync_for_gradient_accumulation=False,
        param_offload=compute.offload,
        optimizer_offload=compute.offload,
        use_dynamic_bsz=tokens is not None,
        max_token_len_per_gpu=tokens,
        infer_max_token_len_per_gpu=tokens,
        micro_batch_size_per_gpu=microbatch_size,
        infer_micro_batch_size_per_gpu=microbatch_size,
    )


def infer(
    worker: TrainingWorker, rows: TensorDict, *keys: str, no_adapter: bool
) -> list[torch.Tensor]:
    """Ask a model about this process's rows, with its adapter or without.

    Each answer ("log_probs", "entropy" or "values") has the shape of the padded responses;
    column t is what the model said of token t having read the tokens before it.
    """
    rows = rows.copy()
    tensordict_utils.assign_non_tensor(
        rows,
        compute_loss=False,
        calculate_entropy="entropy" in keys,
        no_lora_adapter=no_adapter,
    )
    answer = worker.infer_batch(rows)
    return [no_padding_2_padding(answer[key], rows).float() for key in keys]


def train(worker: TrainingWorker, rows: TensorDict, settings: PPOSettings) -> dict[str, Any]:
    """Step through this process's rows in their order, one global minibatch per step.

    Returns verl's metrics: per name, one number per step (some: one per forward pass).
    """
    rows = rows.copy()
    tensordict_utils.assign_non_tensor(
        rows,
        compute_loss=True,
        calculate_entropy=settings.entropy_coef != 0,
        mini_batch_size=settings.minibatch_size,
        global_batch_size=settings.minibatch_size,
        dataloader_kwargs={"shuffle": False},
    )
    metrics: dict[str, Any] = tensordict_utils.get(worker.train_mini_batch(rows), "metrics")
    return metrics
