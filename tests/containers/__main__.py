"""Builds images, runs the miniature study in them, attacks the sandbox: `make test-containers`.

    python -m containers [--attacks-every N] [--folder FOLDER] [--stand-in]

The base of the images is a Debian 12 from this machine's own source of packages, which only root
can unpack. The study must have the results that it has without containers, byte for byte. Then the
attacks and legitimate programs of `make attacks` run in the image in which episodes are played, as
root and as an ordinary user; N = 1 takes all of them. Study and attacks are repeated on a SLURM.
Work is done in a temporary folder, or in FOLDER, which is kept, and whose images are used again.
Where Apptainer does not work, or with --stand-in, bubblewrap takes its place; the verdict, which is
the last line, says so, and it says where SLURM cannot be had.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from checkout import QUIET, ROOT, copy_repository
from images import FAMILIES, image_file

from containers.runtime import Runtime, find_runtime, make_base, stand_in
from containers.study import attack, attack_as_ordinary_user, compare, run_workflow

CORES = ("--cores", str(len(os.sched_getaffinity(0))))
ROOM = 12  # GB, for images and what they are made from
WITH_SLURM = ROOT / "tests/cluster/with_slurm.sh"
NO_SLURM = 77  # its exit code where a machine cannot have one
PYTHONPATH = (ROOT / "tests", ROOT / "tests/cluster", ROOT / "workflow/rules", ROOT)


def main() -> int:
    options = argparse.ArgumentParser(prog="containers", description=(__doc__ or "").split("\n")[0])
    options.add_argument("--attacks-every", type=int, default=3, help="1: all of them")
    options.add_argument("--folder", type=Path, help="work here, and keep it")
    options.add_argument("--stand-in", action="store_true", help="bubblewrap, not Apptainer")
    chosen = options.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="containers-", dir="/var/tmp") as temporary:
            folder = (chosen.folder or Path(temporary)).resolve()
            found = check(folder, chosen.attacks_every, chosen.stand_in)
    except subprocess.CalledProcessError as wrong:
        print(wrong.stdout, wrong.stderr, sep="\n")
        print(f"failed: {' '.join(map(str, wrong.cmd))[:300]}: exit code {wrong.returncode}")
        return 1
    except (AssertionError, OSError) as wrong:
        print(f"failed: {wrong}")
        return 1
    print(f"passed: {'; '.join(found)}")
    return 0


def check(folder: Path, every: int, without_apptainer: bool) -> list[str]:
    """What was found, part by part. Whatever is wrong is an exception."""
    assert os.geteuid() == 0, "only root can unpack the base that images are built on"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)  # for the ordinary user
    free = shutil.disk_usage(folder).free / 1e9
    assert free > ROOM, f"{folder}: {free:.0f} GB are free, {ROOM} are needed"
    runtime = timed("Apptainer, and a base for images", prepare, folder, without_apptainer)
    print(runtime.version, runtime.missing, flush=True)
    os.environ["PATH"] = f"{runtime.folder}:{os.environ['PATH']}"
    inside, outside = (fresh_copy(folder / name) for name in ("inside", "outside"))
    return [
        f"{runtime.version}, NOT Apptainer ({runtime.missing})"
        if runtime.missing
        else runtime.version,
        timed("images", build_images, runtime, inside, folder / "base.sif"),
        timed("studies", compare_studies, inside, outside),
        timed("attacks", attack_twice, inside, every),
        timed("SLURM", repeat_on_slurm, inside, outside, every),
    ]


def timed(what: str, work: Callable[..., Any], *arguments: Any) -> Any:
    started = time.monotonic()
    done = work(*arguments)
    print(f"{what}: {time.monotonic() - started:.0f} s", flush=True)
    return done


def prepare(folder: Path, without_apptainer: bool) -> Runtime:
    base, image = folder / "debian", folder / "base.sif"
    if not base.exists():
        make_base(base)
    if not without_apptainer:
        return find_runtime(folder, base, image)
    runtime = stand_in(folder / "bubblewrap", "as asked")
    runtime("build", "--force", image, base)
    return runtime


def fresh_copy(folder: Path) -> Path:
    """The repository without results, but with the images of an earlier run."""
    for old in ("results", ".snakemake"):
        shutil.rmtree(folder / old, ignore_errors=True)
    return copy_repository(folder)


def build_images(runtime: Runtime, folder: Path, base: Path) -> str:
    """By the workflow's rules. What the labels say must be what the constraints say."""
    run_workflow(folder, "--config", f"container_base={base}", *CORES, "containers")
    pins = dict(re.findall(r"^(\S+)==(\S+)", (ROOT / "envs/constraints.txt").read_text(), re.M))
    told = []
    for family in FAMILIES:
        image = folder / image_file(family)
        record = folder / f"results/benchmarks/build_container/{image.stem}.tsv"
        took = f"{float(record.read_text().split()[10]):.0f} s" if record.exists() else "earlier"
        told.append(f"{family} {image.stat().st_size / 1e6:.0f} MB in {took}")
        if not runtime.missing:
            labels = json.loads(runtime("inspect", "--json", image))["data"]["attributes"]["labels"]
            found = {name: labels[name].partition("+")[0] for name in labels if name in pins}
            assert len(found) > 10 and found.items() <= pins.items(), f"{image}: labels {labels}"
            assert labels["project.family"] == family, f"{image}: labels {labels}"
    return f"images: {', '.join(told)}"


def compare_studies(inside: Path, outside: Path) -> str:
    """The miniature study in containers, each job in its image, and without containers."""
    timed("study in containers", run_workflow, inside, *CORES, "--sdm", "apptainer")
    timed("study without", run_workflow, outside, *CORES)
    return compare(inside, outside, [])


def attack_twice(folder: Path, every: int) -> str:
    return f"{attack(folder, every)}, {attack_as_ordinary_user(folder, every)}"


def repeat_on_slurm(inside: Path, outside: Path, every: int) -> str:
    """Study and attacks as jobs of a SLURM, where one can be had."""
    shutil.rmtree(inside.with_name("slurm"), ignore_errors=True)
    command = [WITH_SLURM, sys.executable, "-m", "containers.on_slurm", inside, outside, str(every)]
    path = os.pathsep.join(map(str, PYTHONPATH))
    environment = os.environ | QUIET | {"PYTHONPATH": path}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode == NO_SLURM:
        return f"NOT on SLURM ({done.stderr.strip().splitlines()[-1]})"
    print(done.stdout)
    done.check_returncode()
    return "; ".join(done.stdout.splitlines()[-2:])


if __name__ == "__main__":
    sys.exit(main())
