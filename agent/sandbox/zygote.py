"""The fork server: a process that has imported the libraries once and forks for every worker.

For every connection it forks a supervisor, which forks a child for every program. Supervisors stay,
because forking this much memory costs milliseconds. Zygote and supervisors import and fork, nothing
else: an OpenMP region run here would make forked children hang, so they compute nothing and own no
thread.
"""

import base64
import gc
import importlib
import io
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from agent.sandbox import audit, linux, program, semaphores, tiers
from agent.sandbox.home import Filters, Tier
from agent.sandbox.supervisor import supervise


def main(settings: dict[str, Any]) -> NoReturn:
    """Says on standard output which tier it will use, or why none, then that it is ready."""
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    tier = _choose_tier(settings)
    if tier.name == "landlock":
        # joblib starts new interpreters, which need named semaphores; without, it is serial.
        os.environ["JOBLIB_MULTIPROCESSING"] = "0"
    for module in settings["modules"]:
        importlib.import_module(module)
    _rehearse()
    gc.collect()
    gc.freeze()  # children never scan, and so never copy, what is shared
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(settings["address"])
    listener.listen(128)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are reaped by the kernel
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        if linux.fork() == 0:
            listener.close()
            supervise(connection, tier)
        connection.close()


def _choose_tier(settings: dict[str, Any]) -> Tier:
    readable = tuple(settings["readable"])
    offer = tiers.probe(settings["scratch"], readable, tuple(settings["shared"]))
    try:
        name = offer.choose(settings["weakest"], settings["strongest"])
    except RuntimeError as refused:
        print(json.dumps({"refused": str(refused)}), flush=True)
        sys.exit(1)
    print(json.dumps({"confinement": offer.describe(name)}), flush=True)
    modules = (audit, program, *([semaphores] if name == "landlock" else []))
    sources = [Path(str(module.__file__)).read_text() for module in modules]
    return Tier(
        name,
        offer.landlock_abi,
        settings["scratch"],
        readable,
        Filters(*map(base64.b64decode, settings["filters"])),
        os.geteuid() == 0 and (name == "namespaces" or (name == "landlock" and offer.own_user)),
        "\n".join(sources) if settings["start"] == "cold" else "",
    )


def _rehearse() -> None:
    """Let the libraries do once what their first use does lazily: 30 ms of every child.

    Reading, writing and checking a table imports modules and scans the installed packages. Nothing
    here computes, so no thread starts.
    """
    if "pandas" in sys.modules:
        pandas = sys.modules["pandas"]
        table = pandas.concat([pandas.read_csv(io.StringIO("a,b\n1.5,x\n2.5,y\n"))])
        table.drop(columns=["b"]).fillna(0.0).to_csv(io.StringIO())
        if "sklearn" in sys.modules:
            from sklearn.utils.validation import check_X_y

            check_X_y(table[["a"]], table["a"])
