"""verl's training workers for the actor and the critic: built, asked, trained, saved.

Importing this module imports verl (seconds) and asks for verl's platform to be set before, so only
`verl_wrapper` imports it, when an update runs. Each worker wraps one model in FSDP2 and runs SPMD:
every process of the group calls the same function with its own rows.
"""

from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from tensordict import TensorDict
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification
from transformers.utils import is_flash_attn_2_available
from verl.trainer.config import CheckpointConfig
from verl.utils import tensordict_utils
from verl.utils.fsdp_utils import get_init_weight_context_manager
from verl.utils.metric import Metric
from verl.utils.torch_functional import entropy_from_logits, logprobs_from_logits_naive
from verl.workers.config import (
    FSDPActorConfig,
    FSDPCriticConfig,
    FSDPEngineConfig,
    FSDPOptimizerConfig,
    HFModelConfig,
    TrainingWorkerConfig,
)
from verl.workers.engine import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead, FSDPEngineWithValueHead
from verl.workers.engine_workers import TrainingWorker
from verl.workers.utils.losses import ppo_loss, value_loss
from verl.workers.utils.padding import build_attention_mask_from_nested, no_padding_2_padding

from agent.core.records import PPOSettings

STRATEGY = "fsdp2"  # verl's FSDP1 engine needs an accelerator
RESUME = ["model", "optimizer", "extra"]  # extra: learning-rate scheduler and random state


class _PlainModule:
    """Loads the model with transformers' class for its task, as verl does but for two things.

    verl's critic asks for flash-attention 2 whatever the configuration says
    (verl-project/verl#5210) and fails where that is not installed; verl's actor first imports
    every vision model of transformers, which takes longer than loading a small model.
    """

    task: Any
    model_config: Any
    device_mesh: Any

    def _build_module(self) -> torch.nn.Module:
        config = self.model_config.hf_config
        empty_but_on_rank_0 = get_init_weight_context_manager(
            use_meta_tensor=not config.tie_word_embeddings, mesh=self.device_mesh
        )
        with empty_but_on_rank_0():
            module = self.task.from_pretrained(
                self.model_config.local_path, config=config, dtype=torch.float32
            )
        if self.model_config.enable_gradient_checkpointing:
            module.gradient_checkpointing_enable({"use_reentrant": False})
        return module


class ActorEngine(_PlainModule, FSDPEngineWithLMHead):
    """verl's actor engine without what takes a third of its time on a CPU.

    verl's computes logits of prompts, which nothing reads, and goes through the others token by
    token in Python to save memory; this one leaves the former and takes the latter at once.
    """

    task = AutoModelForCausalLM

    def prepare_model_inputs(
        self, micro_batch: TensorDict
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        inputs, output_args = super().prepare_model_inputs(micro_batch)
        shortest_prompt = int(micro_batch["prompts"].offsets().diff().min())
        inputs["logits_to_keep"] = inputs["input_ids"].shape[1] - shortest_prompt + 1
        return inputs, output_args

    def prepare_model_outputs(
        self, output: Any, output_args: Any, micro_batch: TensorDict, logits_processor_func: Any
    ) -> dict[str, torch.Tensor]:
        nested = micro_batch["input_ids"]
        logits = output.logits
        if not output_args["temperature_is_one"]:
            logits = logits / output_args["temperature"][:, None, None]
        next_ids = nested.to_padded_tensor(0).roll(-1, dims=1)
        left_out = next_ids.shape[1] - logits.shape[1]
        answers = {"log_probs": logprobs_from_logits_naive(logits, next_ids[:, left_out:])}
        if micro_batch["calculate_entropy"]:
            answers["entropy"] = entropy_from_logits(logits)
        is_token = build_attention_mask_from_nested(nested).bool()
        return {
            key: torch.nested.nested_tensor_from_jagged(
                torch.nn.functional.pad(answer, (left_out, 0))[is_token], nested.offsets()
            )
            for key, answer in answers.items()
        }


class CriticEngine(_PlainModule, FSDPEngineWithValueHead):
    """verl's critic engine with a value head that starts at zero.

    The values of a random head are as large as the returns: in the first iteration they would
    favour some tokens over others for no reason, and a small policy does not recover soon.
    """

    task = AutoModelForTokenClassification

    def _build_module(self) -> torch.nn.Module:
        module: Any = super()._build_module()
        for parameter in module.score.parameters():
            torch.nn.init.zeros_(parameter)
        return module


EngineRegistry.register("language_model", STRATEGY, device="cpu")(ActorEngine)
EngineRegistry.register("value_model", STRATEGY, device="cpu")(CriticEngine)
EngineRegistry.register("value_model", STRATEGY, device="cuda", vendor="nvidia")(CriticEngine)


def build_actor(model: Path, settings: PPOSettings) -> TrainingWorker:
    """The policy with its PPO loss (arXiv 1707.06347, token mean), from a Hugging Face folder."""
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
    worker = _build(
        "language_model", model, settings.learning_rate, [*RESUME, "hf_model"], settings
    )
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


def build_critic(model: Path, settings: PPOSettings) -> TrainingWorker:
    """A value model: the body of `model` under a new linear head."""
    loss = FSDPCriticConfig(
        strategy=STRATEGY,
        ppo_mini_batch_size=settings.minibatch_size,
        ppo_micro_batch_size_per_gpu=settings.microbatch_size,
    )
    worker = _build("value_model", model, settings.critic_learning_rate, RESUME, settings)
    worker.set_loss_fn(partial(value_loss, config=loss))
    return worker


def _build(
    model_type: Literal["language_model", "value_model"],
    model: Path,
    learning_rate: float,
    saved: list[str],
    settings: PPOSettings,
) -> TrainingWorker:
    configuration = TrainingWorkerConfig(
        model_type=model_type,
        model_config=_model_config(model, model_type == "value_model"),
        engine_config=_engine_config(settings.microbatch_size),
        optimizer_config=FSDPOptimizerConfig(
            lr=learning_rate,
            weight_decay=0.0,
            clip_grad=settings.gradient_clip,
            override_optimizer_config={"eps": settings.adam_epsilon},
        ),
        checkpoint_config=CheckpointConfig(save_contents=saved, load_contents=RESUME),
    )
    worker = TrainingWorker(configuration)
    worker.reset()
    return worker


def _model_config(model: Path, is_critic: bool) -> HFModelConfig:
    gpu = torch.cuda.is_available()
    flash = gpu and is_flash_attn_2_available()
    overrides: dict[str, Any] = {"attn_implementation": "flash_attention_2" if flash else "sdpa"}
    if is_critic:
        overrides |= {"num_labels": 1, "classifier_dropout": 0.0}
    return HFModelConfig(
        path=str(model),
        load_tokenizer=False,
        override_config=overrides,
        use_remove_padding=flash,
        enable_gradient_checkpointing=gpu,
    )


def _engine_config(microbatch_size: int) -> FSDPEngineConfig:
    """float32 weights; on GPUs computing is in bfloat16, verl's default, which CPUs are slow at."""
    compute = "bf16" if torch.cuda.is_available() else "fp32"
    return FSDPEngineConfig(
        strategy=STRATEGY,
        model_dtype="fp32",
        mixed_precision={"param_dtype": compute, "reduce_dtype": "fp32", "buffer_dtype": "fp32"},
        use_torch_compile=False,
        use_dynamic_bsz=False,
        micro_batch_size_per_gpu=microbatch_size,
        infer_micro_batch_size_per_gpu=microbatch_size,
    )


def infer(worker: TrainingWorker, rows: TensorDict, *keys: str) -> list[torch.Tensor]:
    """Ask a model about this process's rows.

    Each answer ("log_probs", "entropy" or "values") has the shape of the padded responses;
    column t is what the model said of token t having read the tokens before it.
    """
    rows = rows.copy()
    tensordict_utils.assign_non_tensor(
        rows, compute_loss=False, calculate_entropy="entropy" in keys
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
