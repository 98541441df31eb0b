"""What the section `vllm` of a configuration may say, and which of it results depend on."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """How a job generates with a server of its own."""

    python: str  # interpreter that has vLLM
    tensor_parallel: int  # GPUs that share one copy of the model
    data_parallel: int  # copies of the model
    start_seconds: float  # until it answers; loading and compiling take minutes
    restarts: int  # how often a server that died is started again
    options: tuple[str, ...]  # further ones of vLLM's command line


@dataclass(frozen=True, slots=True)
class RunningSettings:
    """Where a server of the user's is."""

    url: str  # like http://gpu-node:8000
    api_key: str | None  # environment variable with its key; null where it asks for none
    wait_seconds: float  # for it to serve the policy, at the beginning and when it went away


# How a server is had and waited for: what it answers does not depend on that.
_OPERATIONAL = {"python", "start_seconds", "restarts", "url", "api_key", "wait_seconds"}


def decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the keys of its section `vllm` that change no result."""
    kept = dict(config)
    if config.get("vllm") is not None:
        kept["vllm"] = {key: config["vllm"][key] for key in {*config["vllm"]} - _OPERATIONAL}
    return kept


def check_python(python: str) -> None:
    """Raise `RuntimeError` unless the interpreter finds vLLM, whose import would take long."""
    looked = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
    try:
        found = subprocess.run([python, "-c", looked], capture_output=True).returncode == 0
    except OSError:
        found = False
    if not found:
        raise RuntimeError(
            f"vllm.python: {python} is no interpreter that has vLLM: `make vllm` makes "
            ".venv/vllm/bin/python; name that, or another one"
        )
