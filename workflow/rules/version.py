"""Which version of the code runs: read beside the checkout, as a job's container has no git."""

import subprocess
from typing import Any
from urllib.parse import urlsplit


def code_version() -> dict[str, Any]:
    """Commit, whether files differ from it, and web address; each null where it is not known."""
    commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    dirty = None if commit is None else bool(changed)
    return {"commit": commit, "dirty": dirty, "repository": _repository()}


def _repository() -> str | None:
    """The web address that this checkout was cloned from, without a password it may hold."""
    origin = urlsplit(_git("remote", "get-url", "origin") or "")
    if origin.scheme not in ("http", "https"):
        return None
    return origin._replace(netloc=origin.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
