"""The image and the conda environment of each stage family: what they are made of, and digests."""

import functools
import hashlib
import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAMILIES = ("analysis", "competitions", "rollouts", "training")


def image_file(family: str) -> str:
    """The image of a family, from the repository's root, like containers/analysis-0123abcd.sif."""
    return f"containers/{family}-{digest(family)}.sif"


@functools.cache
def digest(family: str) -> str:
    """Of what an image is made of, but for its base, which is a site's own choice.

    As part of the name it makes an image that was built elsewhere the right one wherever it is
    found, whatever its age, and never lets a job run in one that is out of date.
    """
    recipe = (ROOT / f"containers/{family}.def").read_bytes()
    return hashlib.sha256(recipe + packages(family).encode()).hexdigest()[:8]


@functools.cache
def packages(family: str) -> str:
    """Digest of the packages of a family: what installs them, their names and their versions."""
    found = [(ROOT / _script(family)).read_text(), _requirements(family), pins(family)]
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:8]


def pins(family: str) -> list[str]:
    """Of envs/constraints.txt, those of what a family may install: marked with it, or with none."""
    lines = (ROOT / "envs/constraints.txt").read_text().splitlines()
    marked = [line.partition("#") for line in lines]
    return [pin.strip() for pin, _, mark in marked if pin and family in (mark.split() or [family])]


def extras(family: str) -> list[str]:
    """What of pyproject.toml the conda environment of a family installs, and so its image."""
    found = re.search(r'"\.\[([a-z,-]+)\]"', (ROOT / _script(family)).read_text())
    if found is None:
        raise ValueError(
            f'{_script(family)}: installs no extras of this project like ".[analysis]"'
        )
    return found[1].split(",")


def _script(family: str) -> str:
    return f"envs/{family}.post-deploy.sh"


def _requirements(family: str) -> list[object]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chosen = {extra: project["optional-dependencies"][extra] for extra in extras(family)}
    return [project["requires-python"], project["dependencies"], chosen]
