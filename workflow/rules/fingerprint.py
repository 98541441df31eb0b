"""Which code a script runs, so that an edit re-runs the jobs that use it and no others."""

import ast
import functools
import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def fingerprint(script: str, *also_read: str, without: tuple[str, ...] = ()) -> str:
    """Digest of `scripts/<script>.py` and of every file of this project that it runs.

    Code counts by its meaning: comments and formatting change no digest. `also_read` are files
    that are no code, `without` are files whose edits cannot change the script's results; both are
    paths from the repository's root.
    """
    digest = hashlib.sha256()
    left_out = {ROOT / path for path in without}
    for file in sorted(imported_files(ROOT / "scripts" / f"{script}.py") - left_out):
        digest.update(f"{file.relative_to(ROOT)}\n{_meaning(file)}\n".encode())
    for path in also_read:
        digest.update(path.encode() + (ROOT / path).read_bytes())
    return digest.hexdigest()[:16]


def imported_files(script: Path) -> set[Path]:
    """The script and the modules of `agent` that it runs, wherever, directly or through others.

    Imports inside functions count, too: what is imported late is run all the same. So is what a
    text names, a module in full or a file beside the one that names it: children start from these.
    """
    found, waiting = {script}, [script]
    while waiting:
        new = set(_imports(waiting.pop())) - found
        found |= new
        waiting += new
    return found


@functools.cache
def _imports(file: Path) -> tuple[Path, ...]:
    names, beside = [], []
    for node in ast.walk(_parse(file)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names += re.findall(r"\bagent(?:\.\w+)+", node.value)
            beside += re.findall(r"^\w+\.py$", node.value)
    paths = [ROOT / f"{name.replace('.', '/')}.py" for name in names if name.startswith("agent.")]
    paths += [file.with_name(name) for name in beside]
    return tuple(path for path in paths if path.is_file())


@functools.cache
def _meaning(file: Path) -> str:
    return ast.dump(_parse(file))


@functools.cache
def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text())
