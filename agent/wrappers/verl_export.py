"""The trained actor as a folder in Hugging Face's format, which transformers and vLLM load."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import distributed
from verl.utils.fsdp_utils import get_fsdp_full_state_dict
from verl.workers.engine_workers import TrainingWorker

from agent.core.records import LoRASettings, UpdateSettings

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Weights = dict[str, torch.Tensor]


def export_model(
    actor: TrainingWorker, reference: Path, folder: Path, compute: UpdateSettings
) -> None:
    """Write weights in the precision of the update, adapters merged into them.

    bfloat16 rounds away what was learnt below half of a weight's last bit, 0.2 to 0.4 % of it; PPO
    goes on from float32, which is saved beside this. Every process must call this, as each holds a
    part of the weights; the first one writes.
    """
    actor.to("device", optimizer=False, grad=False)  # may wait in main memory
    engine: Any = actor.engine
    weights = get_fsdp_full_state_dict(engine.module, offload_to_cpu=True, rank0_only=True)
    if distributed.get_rank() != 0:
        return
    if compute.lora is not None:
        weights = merge_adapters(weights, compute.lora)
    if actor.model_config.hf_config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    dtype = DTYPES[compute.precision]
    folder.mkdir(parents=True)
    save_file(
        {name: weight.to(dtype).contiguous() for name, weight in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    _describe(folder, reference, str(dtype).removeprefix("torch."))


def merge_adapters(weights: Weights, lora: LoRASettings) -> Weights:
    """The weights of a model that computes what the adapted one does, by their original names."""
    merged = {}
    for key, weight in weights.items():
        if ".lora_" in key:
            continue
        if key.endswith(".base_layer.weight"):
            layer = key.removesuffix("base_layer.weight")
            down, up = (weights[f"{layer}lora_{ab}.default.weight"].float() for ab in "AB")
            weight = weight.float() + lora.alpha / lora.rank * (up @ down)
        name = key.removeprefix("base_model.model.").replace(".base_layer.", ".")
        merged[name] = weight
    return merged


def _describe(model: Path, reference: Path, dtype: str) -> None:
    """Put the reference's tokenizer and configuration files beside weights, with their type."""
    for source in reference.iterdir():
        if source.is_file() and not {".safetensors", ".bin"} & set(source.suffixes):
            shutil.copyfile(source, model / source.name)
    config = json.loads((model / "config.json").read_text())
    config.pop("torch_dtype", None)  # the name that transformers 4 gave to `dtype`
    config["dtype"] = dtype
    (model / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
