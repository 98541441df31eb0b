"""Opening the policy that a job plays: in this process, or on a vLLM server."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.core.base_agent import Policy
from agent.core.local_model import LocalModel, SamplingSettings
from agent.core.model_folder import model_folder
from agent.core.settings import section
from agent.wrappers.vllm_policy import VllmPolicy
from agent.wrappers.vllm_server import VllmServer, VllmSettings


@contextmanager
def open_policy(
    folder: Path, sampling: SamplingSettings, config: Mapping[str, Any], log: Path
) -> Iterator[Policy]:
    """The model in `folder`; with a section `vllm` in `config`, through a server of this job.

    log: where the server writes.
    """
    if config["vllm"] is None:
        yield LocalModel(folder, sampling)
        return
    settings = section(config, "vllm", VllmSettings)
    with VllmServer(model_folder(folder), sampling.context_tokens, settings, log) as server:
        yield VllmPolicy(folder, sampling, server.complete)
