"""The same trial as an ordinary user, for runs as root."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from agent.sandbox import linux

_USER = 61_000  # no person's and no service's


def run_as_ordinary_user(command: list[str]) -> tuple[list[str], int]:
    """Pass on what `command` prints; returns its lines of JSON, which are kept back, and status."""
    told = []
    with tempfile.TemporaryDirectory(prefix="home-") as home:
        os.chown(home, _USER, _USER)
        process = subprocess.Popen(
            command,
            env=os.environ | {"HOME": home, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=_become_ordinary_user,
        )
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                if line.startswith("{"):
                    told.append(line.rstrip())
                else:
                    print(line, end="", flush=True)
        return told, process.wait()


def _become_ordinary_user() -> None:
    """Give up root.

    An interpreter beneath a private folder, such as root's home, could not be executed then: a
    mount namespace of our own shows what is needed of that folder, and nothing else of it.
    """
    needed = [Path(sys.base_prefix), Path(sys.prefix), Path(__file__).parents[2]]
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", "none", linux.MS_REC | linux.MS_PRIVATE)
    for private in {parent for path in needed for parent in path.parents if _is_private(parent)}:
        inside = {path: os.open(path, os.O_PATH) for path in needed if private in path.parents}
        linux.mount("tmpfs", str(private), "tmpfs", 0, "mode=755")
        for path, folder in inside.items():
            path.mkdir(parents=True, exist_ok=True)
            linux.mount(f"/proc/self/fd/{folder}", str(path), "none", linux.MS_BIND)
            os.close(folder)
    os.setgroups([])
    os.setresgid(_USER, _USER, _USER)
    os.setresuid(_USER, _USER, _USER)


def _is_private(folder: Path) -> bool:
    return not folder.stat().st_mode & stat.S_IXOTH
