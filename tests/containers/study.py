"""The miniature study and the attacks in containers, wherever Snakemake runs its jobs."""

import base64
import json
import re
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from checkout import reproducible_files, run, snakemake
from images import FAMILIES, image_file

ORDINARY = 65534  # nobody: Apptainer wants a user that has a name
PACKED = re.compile(rb'(?<=, ")eN[\w+/]+=*(?="\);?$)', re.MULTILINE)
ENTERED = re.compile(r"^Activating singularity image containers/(\w+)-", re.MULTILINE)


def run_workflow(folder: Path, *options: str) -> None:
    done = snakemake(folder, *options)
    if done.returncode:
        logs = [log for log in (folder / "results").rglob("*.log") if "error" in log.read_text()]
        said = "\n".join(f"{log}:\n{log.read_text()[-2000:]}" for log in logs)
        raise subprocess.CalledProcessError(done.returncode, done.args, done.stderr[-4000:], said)


def compare(folder: Path, outside: Path, logs: list[Path]) -> str:
    """A study in containers has the results of the one without; each of its jobs was in one.

    Snakemake's own log tells of jobs on its machine, `logs` of those that it sent.
    """
    log = max((folder / ".snakemake/log").glob("*.log"))  # their names begin with the date
    finished = len(re.findall(r"^Finished jobid", log.read_text(), re.M)) - 1  # less rule all
    entered = [family for text in [log, *logs] for family in ENTERED.findall(text.read_text())]
    assert len(entered) == finished, f"{folder}: {len(entered)} of {finished} jobs in containers"
    assert set(entered) == set(FAMILIES), f"{folder}: images of {set(entered)} only"
    compared = reproducible_files(outside)
    assert len(compared) > 25
    for path in compared:
        again = folder / path.relative_to(outside)
        assert _without_tier(again) == _without_tier(path), f"{again}: differs from {path}"
    tier = json.loads((folder / "results/smoke/headline.json").read_text())["sandbox"]
    return (
        f"{finished} jobs in containers, {len(compared)} files byte-identical to those without, "
        f"the headline says {tier}"
    )


def _without_tier(path: Path) -> bytes:
    """A file's content but for how well programs were confined, which some record."""
    unpacked = PACKED.sub(lambda found: _unpack(found[0]), path.read_bytes())
    return re.sub(rb"(namespaces|landlock) \([^)]*\)", b"", unpacked)


def _unpack(episode: bytes) -> bytes:
    """An episode of the trajectory browser."""
    return zlib.decompress(base64.b64decode(episode))


def attack(folder: Path, every: int, *launch: str, options: Sequence[str] = (), **user: Any) -> str:
    """Attacks and legitimate programs in a container, at each tier that is to be had there."""
    command = f"PYTHONPATH=$PWD:$PWD/tests python -m attacks --no-control --every {every}"
    enter = ["apptainer", "exec", *options, "--home", str(folder), image_file("rollouts")]
    done = run(folder, *launch, *enter, "bash", "-c", command, **user)
    print(*(line for line in done.stdout.splitlines() if not line.startswith("sandbox:")), sep="\n")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise subprocess.CalledProcessError(done.returncode, done.args, "", done.stderr[-4000:])
    tiers = " and ".join(line["tier"] for line in lines)
    attacks, programs = lines[0]["attacks"], lines[0]["legitimate"]
    harmful = sum(line["harmful"] + line["legitimate_failed"] for line in lines)
    assert harmful == 0, f"{harmful} attacks did harm, or programs failed"
    return f"{lines[0]['user']}: {tiers}, no harm by {attacks} attacks, none to {programs} programs"


def attack_as_ordinary_user(folder: Path, every: int, *launch: str) -> str:
    """The same; where FUSE is root's alone, the image is unpacked and not mounted."""
    fuse = Path("/dev/fuse")
    mounts = fuse.exists() and fuse.stat().st_mode & 0o006 == 0o006
    options = () if mounts else ("--unsquash",)
    user = {"user": ORDINARY, "group": ORDINARY, "extra_groups": []}
    return attack(folder, every, *launch, options=options, **user)
