"""The CPU as one of verl's devices.

verl ships platforms for accelerators only and otherwise falls back to CUDA. Its plug-in point is
`PlatformBase` with `set_platform` (verl/plugin/platform); this is the platform of a machine
without any accelerator: collectives go through gloo, and all device calls are free.
"""

import contextlib
import types
from collections.abc import Iterator
from typing import Any

import torch
from verl.plugin.platform import PlatformBase


def _zero(*_: Any) -> int:
    return 0


def _nothing(*_: Any) -> None:
    return None


class _CPUDevice(types.ModuleType):
    """`torch.cpu` with the memory calls that verl makes on `torch.cuda`."""

    memory_allocated = max_memory_allocated = staticmethod(_zero)
    memory_reserved = max_memory_reserved = staticmethod(_zero)
    mem_get_info = staticmethod(lambda *_: (0, 0))
    empty_cache = ipc_collect = reset_peak_memory_stats = staticmethod(_nothing)
    get_device_name = staticmethod(lambda *_: "CPU")
    get_rng_state = staticmethod(torch.get_rng_state)
    set_rng_state = staticmethod(torch.set_rng_state)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cpu, name)


class CPUPlatform(PlatformBase):
    """verl's platform interface for a machine without an accelerator."""

    _device = _CPUDevice("verl_cpu_device")

    @property
    def device_name(self) -> str:
        return "cpu"

    @property
    def vendor_name(self) -> str:
        return "cpu"

    @property
    def device_module(self) -> types.ModuleType:
        return self._device

    def is_available(self) -> bool:
        return True

    def current_device(self) -> torch.device:  # type: ignore[override]
        """A device, since verl passes it to `Tensor.to`, where an index would mean CUDA."""
        return torch.device("cpu")

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None: ...

    def synchronize(self, device_index: int | None = None) -> None: ...

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None: ...

    def empty_cache(self) -> None: ...

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextlib.contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None: ...

    def profiler_stop(self) -> None: ...

    def ray_resource_name(self) -> str:
        return "CPU"

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        return False

    def cudart(self) -> None: ...
