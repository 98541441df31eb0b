"""A checkout is at the right commit and unmodified, or one line says what is wrong with it."""

import subprocess
from pathlib import Path

import pytest

from agent.wrappers.mledojo_checkout import checkout, verify_checkout

ABSENT = "0" * 40


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def no_outer_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a commit hook git tells its children which repository they work on."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, list[str]]:
    """A repository of two commits; the older one has no branch of its own."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    commits = []
    for content in ("one", "two"):
        (folder / "module.py").write_text(content)
        (folder / ".gitignore").write_text("__pycache__/\n")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", content)
        commits.append(git(folder, "rev-parse", "HEAD"))
    return folder, commits


@pytest.mark.parametrize("protocol", ["0", "2"])  # without and with commits given alone
@pytest.mark.parametrize("which", [0, 1])
def test_the_commit_is_checked_out(
    tmp_path: Path,
    repository: tuple[Path, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    which: int,
) -> None:
    source, commits = repository
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.version")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", protocol)
    target = tmp_path / "new/checkout"
    checkout(str(source), commits[which], target)
    assert (target / "module.py").read_text() == ("one", "two")[which]
    assert git(target, "rev-parse", "HEAD") == commits[which]
    assert [path.name for path in target.parent.iterdir()] == ["checkout"]
    checkout("nowhere", commits[which], target)  # only verified: nothing is fetched


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("commit", f"mle_dojo.commit: {ABSENT} is not in "),
        ("repository", "nowhere cannot be fetched"),
    ],
)
def test_a_wrong_setting_is_named_and_leaves_nothing(
    tmp_path: Path, repository: tuple[Path, list[str]], name: str, message: str
) -> None:
    source, commits = repository
    settings = {"repository": str(source), "commit": commits[0]}
    settings[name] = {"commit": ABSENT, "repository": str(tmp_path / "nowhere")}[name]
    with pytest.raises((ValueError, RuntimeError), match=message):
        checkout(**settings, folder=tmp_path / "new/checkout")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_missing_git_is_named(
    tmp_path: Path, repository: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, commits = repository
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="git: no such command"):
        checkout(str(source), commits[0], tmp_path / "checkout")
    assert not (tmp_path / "checkout").exists()


def test_another_commit_is_refused_and_kept(
    tmp_path: Path, repository: tuple[Path, list[str]]
) -> None:
    source, commits = repository
    checkout(str(source), commits[0], tmp_path / "checkout")
    with pytest.raises(ValueError, match=f"is at commit {commits[0]}, mle_dojo.commit is"):
        checkout(str(source), commits[1], tmp_path / "checkout")
    assert (tmp_path / "checkout/module.py").read_text() == "one"


@pytest.mark.parametrize("edited", ["module.py", "pandas.py"])
def test_local_edits_are_refused_and_kept(repository: tuple[Path, list[str]], edited: str) -> None:
    source, commits = repository
    (source / "__pycache__").mkdir()
    (source / "__pycache__/module.pyc").write_text("compiled")
    verify_checkout(source, commits[1])
    (source / edited).write_text("mine")
    with pytest.raises(ValueError, match=rf"has local edits \(.*{edited}\)"):
        verify_checkout(source, commits[1])
    assert (source / edited).read_text() == "mine"


def test_a_folder_without_a_repository_of_its_own_is_refused(
    repository: tuple[Path, list[str]], tmp_path: Path
) -> None:
    source, commits = repository
    inner = source / "inner"
    inner.mkdir()
    with pytest.raises(ValueError, match="is no git checkout"):
        checkout(str(source), commits[1], inner)
    with pytest.raises(ValueError, match="no such folder"):
        verify_checkout(tmp_path / "none", commits[1])
