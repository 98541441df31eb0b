"""Builds images, runs the miniature study in them, attacks the sandbox: `make test-containers`.

    python -m containers [--attacks-every N] [--folder FOLDER] [--stand-in]

The base of the images is a Debian 12 from this machine's own source of packages, which only root
can unpack. The study must have the results that it has without containers, byte for byte. Then the
attacks and legitimate programs of `make attacks` run in the image in which episodes are played, as
root and as an ordinary user; N = 1 takes all of them. Work is done in a temporary folder, or in
FOLDER, which is kept, and whose images are used again. Where Apptainer does not work, or with
--stand-in, bubblewrap takes its place, and the verdict, which is the last line, says so.
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

from checkout import ROOT, copy_repository, reproducible_files, run, snakemake
from images import FAMILIES, image_file

from containers.runtime import Runtime, find_runtime, make_base, stand_in

ORDINARY = 65534  # nobody: Apptainer wants a user that has a name
CORES = ("--cores", str(len(os.sched_getaffinity(0))))
ROOM = 12  # GB, for images and what they are made from


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
        timed("attacks", attack, inside, every),
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


def run_workflow(folder: Path, *options: str) -> None:
    done = snakemake(folder, *options)
    if done.returncode:
        logs = [log for log in (folder / "results").rglob("*.log") if "error" in log.read_text()]
        said = "\n".join(f"{log}:\n{log.read_text()[-2000:]}" for log in logs)
        raise subprocess.CalledProcessError(done.returncode, done.args, done.stderr[-4000:], said)


def build_images(runtime: Runtime, folder: Path, base: Path) -> str:
    """By the workflow's rules. What the labels say must be what the constraints say."""
    run_workflow(folder, "--config", f"container_base={base}", *CORES, "containers")
    pins = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "envs/constraints.txt").read_text(), re.M))
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
    log = max((inside / ".snakemake/log").glob("*.log"))  # their names begin with the date
    entered = re.findall(r"^Activating singularity image containers/(\w+)-", log.read_text(), re.M)
    finished = len(re.findall(r"^Finished jobid", log.read_text(), re.M))
    assert len(entered) == finished - 1, f"{log}: {len(entered)} of {finished - 1} in containers"
    assert set(entered) == set(FAMILIES), f"{log}: images of {set(entered)} only"
    compared = reproducible_files(outside)
    assert len(compared) > 25
    for path in compared:
        again = inside / path.relative_to(outside)
        assert without_tier(again) == without_tier(path), f"{again}: differs from {path}"
    return (
        f"{len(entered)} jobs in containers, {len(compared)} files byte-identical to those without"
    )


def without_tier(path: Path) -> bytes:
    """A file's content but for how well programs were confined, which some record."""
    return re.sub(rb"(namespaces|landlock) \([^)]*\)", b"", path.read_bytes())


def attack(folder: Path, every: int) -> str:
    told = [attack_as(folder, every)]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as home:
        os.chown(home, ORDINARY, ORDINARY)
        told.append(attack_as(folder, every, user=ORDINARY, group=ORDINARY, extra_groups=[]))
    return ", ".join(told)


def attack_as(folder: Path, every: int, **user: Any) -> str:
    """Attacks and legitimate programs in a container, at each tier that is to be had there."""
    command = f"PYTHONPATH=$PWD:$PWD/tests python -m attacks --no-control --every {every}"
    image = image_file("rollouts")
    done = run(
        folder, "apptainer", "exec", "--home", str(folder), image, "bash", "-c", command, **user
    )
    print(*(line for line in done.stdout.splitlines() if not line.startswith("sandbox:")), sep="\n")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise subprocess.CalledProcessError(done.returncode, done.args, "", done.stderr[-4000:])
    tiers = " and ".join(line["tier"] for line in lines)
    attacks, programs = lines[0]["attacks"], lines[0]["legitimate"]
    harmful = sum(line["harmful"] + line["legitimate_failed"] for line in lines)
    assert harmful == 0, f"{harmful} attacks did harm, or programs failed"
    return f"{lines[0]['user']}: {tiers}, no harm by {attacks} attacks, none to {programs} programs"


if __name__ == "__main__":
    sys.exit(main())
