"""A checkout of MLE-Dojo at one commit, unmodified and never installed."""

import os
import shutil
import subprocess
from pathlib import Path

from agent.core.files import unfinished

REMEDY = "remove it, or name another folder under mle_dojo.checkout"


def checkout(repository: str, commit: str, folder: Path) -> None:
    """Clone `repository` at `commit` into `folder`; a folder that is there is only verified.

    `repository` is an address or a local folder. Only the one commit is fetched where the server
    gives it alone, else everything.
    """
    if folder.exists():
        return verify_checkout(folder, commit)
    source = str(Path(repository).resolve()) if Path(repository).is_dir() else repository
    with unfinished(folder) as partial:
        partial.mkdir()
        _git(partial, "init", "--quiet", "--template=")
        _fetch(partial, source, commit)
        if _git(partial, "cat-file", "-e", f"{commit}^{{commit}}").returncode:
            raise ValueError(f"mle_dojo.commit: {commit} is not in {repository}: correct either")
        _must(partial, "-c", "core.autocrlf=false", "checkout", "--quiet", "--detach", commit)
        verify_checkout(partial, commit)


def verify_checkout(folder: Path, commit: str) -> None:
    """Raise unless `folder` is a git work tree at `commit` in which nothing is edited or added.

    Files that MLE-Dojo's own .gitignore names, such as compiled ones, are no edits.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder: correct mle_dojo.checkout")
    if not (folder / ".git").exists():
        raise ValueError(f"{folder}: is no git checkout: {REMEDY}")
    head = _must(folder, "rev-parse", "HEAD")
    if head != commit:
        raise ValueError(f"{folder}: is at commit {head}, mle_dojo.commit is {commit}: {REMEDY}")
    edits = _must(folder, "status", "--porcelain", "--untracked-files=all").splitlines()
    if edits:
        more = f" and {len(edits) - 1} more" if edits[1:] else ""
        raise ValueError(f"{folder}: has local edits ({edits[0].strip()}{more}): {REMEDY}")


def _fetch(folder: Path, source: str, commit: str) -> None:
    if _git(folder, "fetch", "--quiet", "--depth=1", "--no-tags", source, commit).returncode == 0:
        return
    everything = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
    done = _git(folder, "fetch", "--quiet", source, *everything)
    if done.returncode:
        raise RuntimeError(
            f"mle_dojo.repository: {source} cannot be fetched ({_last_line(done.stderr)}): "
            "check the network, or name a local clone"
        )


def _must(folder: Path, *arguments: str) -> str:
    done = _git(folder, *arguments)
    if done.returncode:
        raise RuntimeError(f"{folder}: git fails ({_last_line(done.stderr)}): {REMEDY}")
    return done.stdout.strip()


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git on `folder` alone: not on a repository around it, nor on one the caller is in."""
    if shutil.which("git") is None:
        raise RuntimeError("git: no such command: install it, or name a checkout made elsewhere")
    places = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"}
    environment = {key: value for key, value in os.environ.items() if key not in places}
    environment |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    environment["GIT_CEILING_DIRECTORIES"] = str(folder.resolve().parent)
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
