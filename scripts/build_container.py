"""Build the image of one stage family with Apptainer, which needs no root.

pip takes packages from where this machine's own pip takes them: its settings, proxies and
certificates are passed on, and the folders that they name are there during the build.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import tyro

from agent.core.errors import one_line_errors

# Of pip's settings, those that say where packages come from.
SOURCES = (
    *("index-url", "extra-index-url", "find-links", "no-index", "trusted-host"),
    *("cert", "client-cert", "proxy", "timeout", "default-timeout", "retries"),
)
# In a twentieth of gzip's time, to the same size; read by Linux 4.14 and by Apptainer itself.
COMPRESSION = "-comp zstd -Xcompression-level 3"
NETWORK = ("http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


def main(definition: Path, base: str, output: Path) -> None:
    """Build an image.

    Args:
        definition: containers/<family>.def.
        base: what the image is built on: docker://name:tag or another address that Apptainer
            knows, the file of an image, or a folder with a root file system.
        output: where to write the image.
    """
    network = {name: os.environ[name] for name in _either_case(NETWORK) if name in os.environ}
    settings = pip_settings() | network
    bound = bound_folders(settings)
    bootstrap, _, source = base.rpartition("://")
    if not bootstrap and not Path(source).exists():
        raise ValueError(f"container_base: no file or folder {source}; an address has a scheme://")
    arguments = {
        "bootstrap": bootstrap or "localimage",
        "base": source,
        "commit": commit(),
        "mounts": " ".join(map(str, bound)),
    }
    command = ["apptainer", "build", "--force", "--mksquashfs-args", COMPRESSION]
    command += [part for pair in arguments.items() for part in ("--build-arg", "=".join(pair))]
    command += [part for folder in bound for part in ("--bind", f"{folder}:{folder}:ro")]
    passed_on = {f"APPTAINERENV_{name}": value for name, value in settings.items()}
    done = subprocess.run([*command, output, definition], env=os.environ | passed_on, check=False)
    if done.returncode:
        raise RuntimeError(f"{definition}: not built on {base}: see Apptainer's messages above")


def pip_settings() -> dict[str, str]:
    """Where this machine's pip takes packages from, as the environment variables of pip."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    )
    found: dict[str, str] = {}
    # What a variable of the environment says comes before what a file says.
    for line in sorted(listed.stdout.splitlines(), key=lambda line: line.startswith(":env:")):
        key, _, value = line.partition("=")
        place, _, name = key.rpartition(".")
        if name in SOURCES and place in ("global", "install", ":env:"):
            found[f"PIP_{name.upper().replace('-', '_')}"] = ast.literal_eval(value)
    return found


def bound_folders(settings: dict[str, str]) -> list[Path]:
    """Folders of this machine with everything that the settings name.

    The pages of an index link to files that usually lie beside its own folder.
    """
    found = set()
    for name, value in settings.items():
        for word in value.split():
            path = Path(urlsplit(word).path if word.startswith("file:") else word)
            if path.is_absolute() and path.exists():
                found.add(path if path.is_dir() and "INDEX_URL" not in name else path.parent)
    return sorted(found)


def commit() -> str:
    """The commit of the working folder, with a plus when files differ from it."""
    described = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    done = subprocess.run(described, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _either_case(names: tuple[str, ...]) -> list[str]:
    return [*names, *(name.upper() for name in names if name.islower())]


if __name__ == "__main__":
    with one_line_errors():
        tyro.cli(main)
