"""MLE-Dojo's own preparation of one competition, run in a child from a checkout.

Upstream's `prepare/mle.py` is never used: it deletes what was prepared before when it fails, and
ends with 0 all the same.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

# What the child executes: the slug, and after it the three folders unless it only has to load.
# Some prepare scripts draw from the global generators without a seed.
CHILD = """
import random, sys
from pathlib import Path
import numpy
from mledojo.competitions import get_prepare
prepare = get_prepare(sys.argv[1])
if prepare is None:
    sys.exit(3)
random.seed(0)
numpy.random.seed(0)
if sys.argv[2:]:
    prepare(*map(Path, sys.argv[2:]))
"""
TOOLS = ("unzip", "gunzip")  # commands that prepare scripts call without looking for failure
SHELL_SAFE = re.compile(r"[\w./+@%=:,-]+")


def check_prepare(checkout: Path, slug: str) -> None:
    """Raise unless the prepare script can be loaded here; done before anything is downloaded."""
    script = checkout / "mledojo/competitions" / slug / "utils/prepare.py"
    source = script.read_text(encoding="utf-8") if script.is_file() else ""
    if not re.search(r"^def prepare\(", source, re.MULTILINE):
        raise ValueError(f"{script}: no prepare script: MLE-Dojo cannot prepare {slug}")
    missing = [tool for tool in TOOLS if re.search(rf"\b{tool}\b", source) and not _found(tool)]
    if missing:
        raise RuntimeError(f"{script}: needs the command {missing[0]}: install it")
    _child(checkout, checkout, slug)


def run_prepare(checkout: Path, slug: str, raw: Path, public: Path, private: Path) -> None:
    """Fill `public` and `private` from `raw`, which upstream usually deletes.

    The child works in `raw`, as upstream's scripts expect; what it prints is printed here.
    """
    folders = [str(folder.resolve()) for folder in (raw, public, private)]
    for folder in folders:
        if not SHELL_SAFE.fullmatch(folder):
            raise ValueError(
                f"{folder}: prepare scripts hand this path to a shell unquoted: "
                "prepare into a folder without blanks and special characters in its path"
            )
    last = _child(checkout, raw, slug, *folders)
    for file in (public / "sample_submission.csv", private / "test_answer.csv"):
        if not file.is_file():
            raise RuntimeError(
                f"{slug}: MLE-Dojo's prepare wrote no {file.name}, its last words: {last!r}; "
                "does the archive hold what Kaggle's does?"
            )


def dsbench_address(checkout: Path) -> str:
    """Where DSBench's archive lies, as the checkout's own script says."""
    script = checkout / "prepare/dsbench.py"
    source = script.read_text(encoding="utf-8") if script.is_file() else ""
    found = re.search(r"https?://[^\s\"']+\.zip", source)
    if not found:
        raise ValueError(f"{script}: names no DSBench archive: give one with --archive")
    return found[0]


def title_of(checkout: Path, slug: str) -> str:
    """The competition's title; two competitions have none there and go by their slugs."""
    facts: dict[str, Any] = {}
    for name in ("mle", "dsbench"):
        file = checkout / f"prepare/{name}.json"
        facts |= json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return str(facts.get(slug, {}).get("title", slug))


def _child(checkout: Path, folder: Path, *arguments: str) -> str:
    """Run the child in `folder`, print what it prints, and return the last line of that."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("KAGGLE_")}
    environment = kept | {
        "PYTHONPATH": str(checkout.resolve()),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "TQDM_DISABLE": "1",
    }
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", CHILD, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    last = ""
    with child:
        assert child.stdout is not None
        for line in child.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    if child.returncode:
        raise RuntimeError(f"{arguments[0]}: {_reason(child.returncode, last)}")
    return last


def _reason(status: int, last: str) -> str:
    package = re.search(r"No module named '([\w.]+)'", last)
    if package:
        return (
            f"MLE-Dojo's prepare script needs the Python module {package[1]}: "
            "install it into the environment of this step"
        )
    ended = f"was ended by signal {-status}; its last line" if status < 0 else "crashed"
    return f"MLE-Dojo's prepare script {ended}: {last}"


def _found(tool: str) -> bool:
    return shutil.which(tool) is not None
