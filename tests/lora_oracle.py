"""LoRA (arXiv 2106.09685) and Adam (arXiv 1412.6980) written out in plain PyTorch.

Nothing here is peft's or verl's, but for the random numbers that adapters begin with: these are
read from a checkpoint.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from agent.core.records import LoRASettings

Weights = dict[str, torch.Tensor]


class AdaptedLinear(torch.nn.Module):
    """A frozen linear layer with weight W that computes with W + alpha / rank * B A."""

    def __init__(
        self, linear: torch.nn.Linear, down: torch.Tensor, up: torch.Tensor, scale: float
    ) -> None:
        super().__init__()
        self.linear, self.scale = linear, scale
        self.down, self.up = torch.nn.Parameter(down.clone()), torch.nn.Parameter(up.clone())

    def merged(self) -> torch.Tensor:
        return self.linear.weight + self.scale * self.up @ self.down

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return F.linear(inputs, self.merged(), self.linear.bias)


class Adam:
    """One step after the other; parameters without a gradient stay."""

    def __init__(self, model: torch.nn.Module, rate: float, epsilon: float) -> None:
        self.rate, self.epsilon, self.steps = rate, epsilon, 0
        self.trained = [weight for weight in model.parameters() if weight.requires_grad]
        self.means = [torch.zeros_like(weight) for weight in self.trained]
        self.squares = [torch.zeros_like(weight) for weight in self.trained]

    def zero_grad(self) -> None:
        for weight in self.trained:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        self.steps += 1
        for weight, mean, square in zip(self.trained, self.means, self.squares, strict=True):
            assert weight.grad is not None
            mean += 0.1 * (weight.grad - mean)
            square += 0.001 * (weight.grad**2 - square)
            unbiased = mean / (1 - 0.9**self.steps), square / (1 - 0.999**self.steps)
            weight -= self.rate * unbiased[0] / (unbiased[1].sqrt() + self.epsilon)


def saved_weights(checkpoint: Path, model: str) -> Weights:
    """What verl saved of the actor or the critic, by the names that the model itself gives it."""
    path = checkpoint / "verl" / model / "model_world_size_1_rank_0.pt"
    saved = torch.load(path, weights_only=False)
    return {
        key.removeprefix("base_model.model."): weight.full_tensor() for key, weight in saved.items()
    }


def adapt(model: Any, lora: LoRASettings, saved: Weights) -> None:
    """Freeze the model, but a value head, and give its layers the adapters of a checkpoint."""
    for name, weight in model.named_parameters():
        weight.requires_grad_(name.startswith("score."))
    targets = [name for name, _ in model.named_modules() if name.endswith(lora.targets)]
    for name in targets:
        down, up = (saved[f"{name}.lora_{half}.default.weight"] for half in "AB")
        layer = AdaptedLinear(model.get_submodule(name), down, up, lora.alpha / lora.rank)
        model.set_submodule(name, layer)


def adapters(model: torch.nn.Module) -> Weights:
    """All that an adapted model trains, by the names of `saved_weights`."""
    halves = {"down": "lora_A.default.weight", "up": "lora_B.default.weight"}
    named: Weights = {}
    for name, weight in model.named_parameters():
        layer, _, last = name.rpartition(".")
        if layer == "score":
            named[f"score.modules_to_save.default.{last}"] = weight.detach()
        elif last in halves:
            named[f"{layer}.{halves[last]}"] = weight.detach()
    return named


def merged_weights(model: torch.nn.Module) -> Weights:
    """The adapted model's weights as one without adapters has them."""
    merged = {
        f"{name}.weight": layer.merged().detach()
        for name, layer in model.named_modules()
        if isinstance(layer, AdaptedLinear)
    }
    plain = {name.replace(".linear.", "."): weight for name, weight in model.named_parameters()}
    halves = (".down", ".up")
    return {k: w.detach() for k, w in plain.items() if not k.endswith(halves)} | merged
