"""A tiny model and servers of it: what the tests of generating through a server start with."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from checkout import ROOT
from tiny_model import TEXTS, TINY

from agent.core.local_model import SamplingSettings
from agent.training.warm_start import new_model, save_model, train_tokenizer
from agent.wrappers.vllm_server import VllmServer
from agent.wrappers.vllm_settings import VllmSettings

SAMPLING = SamplingSettings(temperature=0.7, max_new_tokens=12, context_tokens=2048, batch_size=8)
PROTOCOL = VllmSettings("", 1, 1, 120.0, 2, ())


def make_model(folder: Path) -> Path:
    """Heads as wide as vLLM's kernels want them."""
    shape = replace(TINY, hidden_size=128, heads=2, feed_forward=128, context_tokens=2048)
    tokenizer = train_tokenizer(TEXTS, shape.vocabulary)
    save_model(new_model(tokenizer, shape), tokenizer, folder / "model")
    return folder / "model"


def make_interpreter(folder: Path) -> str:
    """One that has the protocol server's `vllm`."""
    script = folder / "python"
    folders = f"{ROOT / 'tests/protocol_server'}:{ROOT}"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={folders} exec {sys.executable} "$@"\n')
    script.chmod(0o755)
    return str(script)


def process_of(server: VllmServer) -> int:
    """The server itself, which its keeper started; raises while there is none."""
    assert server._keeper is not None
    keeper = server._keeper.pid
    children = Path(f"/proc/{keeper}/task/{keeper}/children")
    if not children.exists() or not children.read_text():
        raise ProcessLookupError
    return int(children.read_text().split()[0])


def kill_server(server: VllmServer) -> None:
    os.killpg(process_of(server), signal.SIGKILL)
