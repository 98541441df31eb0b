#!/usr/bin/env python3
"""Stands in for Apptainer on machines that cannot run it, under the name of `apptainer`.

An image is a file that holds nothing and, beside it, a folder named <image>.rootfs; bubblewrap
runs commands in that. Only what this project and Snakemake call is understood: --version, build
from a definition or a folder, and exec. It is no other way to use the pipeline: it is for tests.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = ".singularity.d/env/90-environment.sh"
BUILD = {
    "--force": 0,
    "--build-arg": 1,
    "--bind": 1,
    "--mksquashfs-args": 1,
}  # options, and how many values they take
FLAGS = ("--nv", "--quiet", "--silent", "--unsquash")  # an image is unpacked as it is
EXEC = {"--home": 1, "--bind": 1, "--pwd": 1, **dict.fromkeys(FLAGS, 0)}


def main(arguments: list[str]) -> None:
    while arguments and arguments[0] in ("--quiet", "--silent"):
        arguments.pop(0)
    if arguments == ["--version"]:
        print("apptainer version 1.4.5")
    elif arguments[:1] == ["build"]:
        options, [image, source] = take_options(arguments[1:], BUILD)
        build(options, Path(image), Path(source))
    elif arguments[:1] == ["exec"]:
        options, [image, *command] = take_options(arguments[1:], EXEC)
        execute(options, Path(f"{image}.rootfs"), command)
    else:
        sys.exit(f"bubblewrap_runtime.py: {arguments}: not understood; it knows build and exec")


def take_options(given: list[str], known: dict[str, int]) -> tuple[dict[str, list[str]], list[str]]:
    options: dict[str, list[str]] = {}
    while given and given[0].startswith("-"):
        name, *given = given
        if name not in known:
            sys.exit(f"bubblewrap_runtime.py: {name}: not understood; it knows {', '.join(known)}")
        options.setdefault(name, []).extend(given[: known[name]])
        given = given[known[name] :]
    return options, given


def build(options: dict[str, list[str]], image: Path, source: Path) -> None:
    root = Path(f"{image}.rootfs")
    shutil.rmtree(root, ignore_errors=True)
    if source.is_dir():
        shutil.copytree(source, root, symlinks=True)
    else:
        build_from_definition(options, root, source)
    image.write_text("")


def build_from_definition(options: dict[str, list[str]], root: Path, source: Path) -> None:
    parts = sections(source.read_text(), options["--build-arg"])
    base = re.search(r"^From: (.+)$", parts["header"], re.M)
    assert base is not None
    build({}, root.with_suffix(""), Path(f"{base[1]}.rootfs"))
    shell(["sh", "-ec", parts["setup"]], {"APPTAINER_ROOTFS": str(root)})
    for line in parts["files"].split("\n"):
        if line.strip():
            here, there = line.split()
            (root / there[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(here, root / there[1:])
    (root / ENVIRONMENT).parent.mkdir(parents=True)
    (root / ENVIRONMENT).write_text(parts["environment"])
    passed_on = {
        name.removeprefix("APPTAINERENV_"): value
        for name, value in os.environ.items()
        if name.startswith("APPTAINERENV_")
    }
    own = {"PATH": PATH, "HOME": "/root", "APPTAINER_LABELS": "/.build.labels"}
    bound = bindings(options.get("--bind", []), "--ro-bind")
    for part, start in (("post", ""), ("test", f". /{ENVIRONMENT}; ")):
        command = ["bash", "-ec", start + parts[part]]
        shell([*bubblewrap(root), *bound, "--clearenv", *settings(own | passed_on), *command], {})


def sections(definition: str, given: list[str]) -> dict[str, str]:
    parts = re.split(r"^%(\w+)\n", f"%header\n{definition}", flags=re.M)[1:]
    found = dict(zip(parts[::2], parts[1::2], strict=True))
    lines = [line.strip() for line in found["arguments"].split("\n") if "=" in line]
    values = dict(argument.split("=", 1) for argument in [*lines, *given])
    return {
        name: re.sub(r"\{\{ (\w+) \}\}", lambda use: values[use[1]], text)
        for name, text in found.items()
    }


def execute(options: dict[str, list[str]], root: Path, command: list[str]) -> None:
    home = options.get("--home", [os.environ["HOME"]])[-1]
    folder = options.get("--pwd", [str(Path.cwd())])[-1]
    places = [home, str(Path.cwd()), "/tmp", "/var/tmp", *options.get("--bind", [])]
    start = ["bash", "-c", f'. /{ENVIRONMENT}; exec "$@"', "bash"]
    variables = settings({"PATH": PATH, "HOME": home})
    bound = [*bindings(places, "--bind"), *variables, "--chdir", folder]
    complete = [*bubblewrap(root), "--die-with-parent", *bound, *start, *command]
    os.execvp(complete[0], complete)


def bubblewrap(root: Path) -> list[str]:
    command = ["bwrap", "--bind", str(root), "/", "--dev", "/dev", "--proc", "/proc"]
    command += ["--perms", "1777", "--tmpfs", "/dev/shm"]
    for file in ("/etc/resolv.conf", "/etc/hosts"):
        command += ["--ro-bind", file, file]
    return command if os.geteuid() == 0 else [*command, "--unshare-user", "--uid", "0"]


def bindings(places: list[str], option: str) -> list[str]:
    """From Apptainer's FROM[:TO[:ro]], several of them separated by commas."""
    found = []
    for place in ",".join(places).split(","):
        source, target, *_ = [*place.split(":"), place] if ":" in place else [place, place]
        found += [option, source, target]
    return found


def settings(variables: dict[str, str]) -> list[str]:
    return [part for pair in variables.items() for part in ("--setenv", *pair)]


def shell(command: list[str], more: dict[str, str]) -> None:
    done = subprocess.run(command, env=os.environ | more, check=False)
    if done.returncode:
        sys.exit(f"bubblewrap_runtime.py: build failed in: {command[-1][:200]}")


if __name__ == "__main__":
    main(sys.argv[1:])
