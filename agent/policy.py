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
from agent.wrappers.vllm_running import RunningServer
from agent.wrappers.vllm_server import VllmServer
from agent.wrappers.vllm_settings import RunningSettings, VllmSettings


@contextmanager
def open_policy(
    folder: Path, sampling: SamplingSettings, config: Mapping[str, Any], log: Path
) -> Iterator[Policy]:
    """The model in `folder`; with a section `vllm`, on a server: this job's own, or a running one.

    log: where a server of this job writes.
    """
    if config["vllm"] is None:
        yield LocalModel(folder, sampling)
        return
    if "url" in config["vllm"]:
        running = section(config, "vllm", RunningSettings)
        with RunningServer(model_folder(folder), sampling.context_tokens, running) as asked:
            yield VllmPolicy(folder, sampling, asked.complete)
        return
    settings = section(config, "vllm", VllmSettings)
    with VllmServer(model_folder(folder), sampling.context_tokens, settings, log) as server:
        yield VllmPolicy(folder, sampling, server.complete)
