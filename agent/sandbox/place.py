"""A program's own files: a working folder and room for temporary ones, of limited size."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from agent.sandbox import linux
from agent.sandbox.home import Home
from agent.sandbox.namespaces import PLACE, SHARED_MEMORY
from agent.sandbox.watch import TreeLimits


class Place:
    """A new one for each program, gone with all its content at the end of the `with` block.

    With namespaces it is a file system in memory, whose size and number of files the kernel limits;
    otherwise a folder on disk, which must be watched.
    """

    def __init__(self, home: Home, limits: TreeLimits) -> None:
        self._user = home.user
        self._limits = limits
        self._mounted = home.tier.name == "namespaces"
        scratch = Path(home.tier.scratch)
        self.folder = Path(PLACE) if self._mounted else scratch / str(os.getpid())
        self.work = self.folder / "work"
        self._opened: list[int] = []

    @property
    def on_disk(self) -> str:
        """The folder to watch, empty when the kernel does."""
        return "" if self._mounted else str(self.folder)

    def __enter__(self) -> "Place":
        if self._mounted:
            owner = "" if self._user is None else f",uid={self._user},gid={self._user}"
            size = f"size={self._limits.scratch_mb}m,nr_inodes={self._limits.scratch_files}"
            flags = linux.MS_NOSUID | linux.MS_NODEV
            linux.mount("tmpfs", PLACE, "tmpfs", flags, f"{size},mode=700{owner}")
        else:
            self.folder.mkdir(mode=0o700)
        return self

    def fill(self, public: int, shared: Sequence[str]) -> int:
        """Copy in what the descriptor `public` shows; link what is `shared`, by its paths.

        Returns a descriptor of the working folder, which holds wherever a program moves it.
        """
        os.fchdir(public)
        names = [Path(path).name for path in shared]
        shutil.copytree(".", self.work, ignore=lambda folder, _: names if folder == "." else [])
        os.chdir("/")
        for path in shared:
            (self.work / Path(path).name).symlink_to(path)
        self._opened.append(os.open(self.work, os.O_PATH | os.O_DIRECTORY))
        if self._mounted:
            Path(SHARED_MEMORY).mkdir()
        if self._user is not None:
            for folder, _, names in os.walk(self.folder):
                for path in (folder, *(f"{folder}/{name}" for name in names)):
                    os.chown(path, self._user, self._user, follow_symlinks=False)
        return self._opened[0]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for descriptor in self._opened:
            os.close(descriptor)
        if self._mounted:
            linux.unmount(PLACE)
        else:
            _remove(self.folder, self._user)


def _remove(folder: Path, owner: int | None) -> None:
    """Whatever a program made of it."""
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):  # locked, or deeper than Python follows; or gone
        # As its owner, because a supervisor's rights do not pass on to what it executes.
        for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
            subprocess.run(
                [*command, "--", folder], stderr=subprocess.DEVNULL, user=owner, group=owner
            )
        shutil.rmtree(folder, ignore_errors=True)  # an owner may empty it, but not take it away
    if folder.exists():
        raise RuntimeError(f"sandbox: what a program left in {folder} cannot be removed")
