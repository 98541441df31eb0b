"""verl's engines for actor and critic, as this project trains them: on a CPU, and with LoRA.

Importing this module registers them with verl; `verl_workers` does, and nobody else needs to.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model
from tensordict import TensorDict
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification
from verl.models.transformers.dense_common import CausalLMOutputForPPO
from verl.models.transformers.monkey_patch import apply_monkey_patch
from verl.utils.fsdp_utils import get_init_weight_context_manager
from verl.utils.torch_dtypes import PrecisionType
from verl.utils.torch_functional import entropy_from_logits, logprobs_from_logits_naive
from verl.workers.engine import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead, FSDPEngineWithValueHead
from verl.workers.utils.padding import build_attention_mask_from_nested

STRATEGY = "fsdp2"  # verl's FSDP1 engine needs an accelerator
CHUNK_TOKENS = 1024  # with 152k ids 0.6 GB for each of the handful of copies of their logits


class _Adapters:
    """LoRA (arXiv 2106.09685) whose weights stay in float32, also on a bfloat16 model.

    verl casts them to the model's type, in which Adam's small steps are lost, and takes every
    model for a causal one, which fails for a critic: its head is trained whole.
    """

    lora_task = TaskType.CAUSAL_LM
    model_config: Any

    def _build_lora_module(self, module: Any) -> torch.nn.Module:
        settings = self.model_config
        names = {name.rpartition(".")[2] for name, _ in module.named_modules()}
        if unknown := sorted(set(settings.target_modules) - names):
            raise ValueError(
                f"update.lora.targets: {settings.local_path} has no module {unknown[0]}: name"
                " its linear layers, like q_proj and v_proj"
            )
        module.enable_input_require_grads()  # or gradient checkpointing finds nothing to train
        adapted: Any = get_peft_model(
            module,
            LoraConfig(
                task_type=self.lora_task,
                r=settings.lora_rank,
                lora_alpha=settings.lora_alpha,
                target_modules=list(settings.target_modules),
            ),
        )
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        return adapted


class _PlainModule(_Adapters):
    """Loads the model with transformers' class for its task, as verl does but for two things.

    verl's critic asks for flash-attention 2 whatever the configuration says
    (verl-project/verl#5210) and fails where that is not installed; verl's actor first imports
    every vision model of transformers, which takes longer than loading a small model.
    """

    task: Any
    engine_config: Any
    device_mesh: Any

    def _build_module(self) -> torch.nn.Module:
        config = self.model_config.hf_config
        empty_but_on_rank_0 = get_init_weight_context_manager(
            use_meta_tensor=not config.tie_word_embeddings, mesh=self.device_mesh
        )
        dtype = PrecisionType.to_dtype(self.engine_config.model_dtype)
        with empty_but_on_rank_0():
            module = self.task.from_pretrained(
                self.model_config.local_path, config=config, dtype=dtype
            )
        if self.model_config.use_remove_padding:
            apply_monkey_patch(module, use_remove_padding=True)
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


class GPUActorEngine(_Adapters, FSDPEngineWithLMHead):
    """verl's actor engine with our adapters, and with logits of few tokens at a time.

    In float32 those of 32k tokens take 20 GB for 152k ids, and verl's engine holds several copies.
    Its remedy, fused kernels, is a model that answers log-probabilities instead. verl's own ones
    divide by the temperature in bfloat16, and look for the head's weights where FSDP has put
    them away; here the head itself answers, in float32.
    """

    def _build_fsdp_module(self, module: Any) -> torch.nn.Module:
        self.engine_config.use_fused_kernels = True
        model = module.get_base_model() if self.model_config.lora_rank else module
        model.lm_head.forward = partial(_judge, model.lm_head.forward)
        model.forward = partial(_answer_logprobs, model)
        wrapped: torch.nn.Module = super()._build_fsdp_module(module)
        return wrapped


def _answer_logprobs(
    model: Any,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    position_ids: torch.Tensor,
    temperature: float,
    shift_labels: torch.Tensor | None = None,
    **_: Any,
) -> CausalLMOutputForPPO:
    """A causal model's forward pass: ids (rows, tokens) in, the same shape of numbers out."""
    read = model.model(
        input_ids=input_ids,
        attention_mask=attention_mask,
        position_ids=position_ids,
        use_cache=False,
    )
    next_ids = input_ids.roll(-1, dims=1) if shift_labels is None else shift_labels
    answers = model.lm_head(read.last_hidden_state.flatten(0, 1), next_ids.flatten(), temperature)
    log_probs, entropy = (answer.view_as(next_ids) for answer in answers)
    return CausalLMOutputForPPO(log_probs=log_probs, entropy=entropy)


def _judge(
    logits_of: Callable[[torch.Tensor], torch.Tensor],
    hidden: torch.Tensor,
    next_ids: torch.Tensor,
    temperature: float,
) -> tuple[torch.Tensor, ...]:
    """Log-probability of each next token and entropy; logits are computed anew on the way back."""

    def judge(hidden: torch.Tensor, next_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = logits_of(hidden).float() / temperature
        return logprobs_from_logits_naive(logits, next_ids), entropy_from_logits(logits)

    parts = zip(hidden.split(CHUNK_TOKENS), next_ids.split(CHUNK_TOKENS), strict=True)
    chunks = [checkpoint(judge, *part, use_reentrant=False) for part in parts]
    return tuple(map(torch.cat, zip(*chunks, strict=True)))


class CriticEngine(_PlainModule, FSDPEngineWithValueHead):
    """verl's critic engine with a value head that starts at zero.

    The values of a random head are as large as the returns: in the first iteration they would
    favour some tokens over others for no reason, and a small policy does not recover soon.
    """

    task = AutoModelForTokenClassification
    lora_task = TaskType.TOKEN_CLS

    def _build_module(self) -> torch.nn.Module:
        module: Any = super()._build_module()
        for parameter in module.score.parameters():
            torch.nn.init.zeros_(parameter)
        return module


EngineRegistry.register("language_model", STRATEGY, device="cpu")(ActorEngine)
EngineRegistry.register("value_model", STRATEGY, device="cpu")(CriticEngine)
EngineRegistry.register("language_model", STRATEGY, device="cuda", vendor="nvidia")(GPUActorEngine)
EngineRegistry.register("value_model", STRATEGY, device="cuda", vendor="nvidia")(CriticEngine)
