"""The image of each stage family: what it is made of, and the name that says so."""

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
    found = hashlib.sha256(json.dumps(_requirements(family), sort_keys=True).encode())
    for file in (f"containers/{family}.def", _script(family), "envs/constraints.txt"):
        found.update((ROOT / file).read_bytes())
    return found.hexdigest()[:8]


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
