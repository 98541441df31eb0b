"""The GPUs that a job asked for, and those that it has."""

from collections.abc import Mapping
from typing import Any

from agent.core.commands import output_of

COUNT = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"


def check_gpus(job: str, asked: int, vllm: Mapping[str, Any] | None = None) -> None:
    """Raise unless a job sees as many GPUs of its machine as it asked for.

    It would run all the same, on the processor, for days. The Python of a job's own `vllm` server
    counts for itself; a server that runs elsewhere has its own GPUs.
    """
    if asked == 0 or (vllm is not None and "url" in vllm):
        return
    seen = _seen_here() if vllm is None else int(output_of([vllm["python"], "-c", COUNT]))
    if seen < asked:
        raise RuntimeError(
            f"resources.{job}.gpu: {asked} on a machine were asked for, but PyTorch sees {seen}: "
            "see that the driver is there (nvidia-smi lists them), in a container that "
            "apptainer-args have --nv, and that PyTorch's wheel is one with CUDA, or ask for fewer"
        )


def _seen_here() -> int:
    import torch  # which only those who have a GPU need to find

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
