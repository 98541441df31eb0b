"""A world of its own for a supervisor and the programs it runs, by namespaces(7), without root.

The order matters: the user namespace gives the right to the others; the first process forked after
`isolate` is process 1 of the new world, and it builds the file view.
"""

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from agent.sandbox import linux

# Where a program's file system is mounted; /tmp and /dev/shm lead there. Landlock's rule is that
# of the folder around the mount point, since the kernel does not look at the point itself.
AROUND_PLACE = "/own"
PLACE = f"{AROUND_PLACE}/tmp"
SHARED_MEMORY = f"{PLACE}/shm"
INSIDE_ID = 1000
_DEVICES = ("null", "zero", "full", "random", "urandom")
# statvfs(3) flags that a bind mount keeps and an unprivileged remount must repeat (mount(2)).
_KEPT_FLAGS = {
    os.ST_NOSUID: linux.MS_NOSUID,
    os.ST_NODEV: linux.MS_NODEV,
    os.ST_NOEXEC: linux.MS_NOEXEC,
    os.ST_NOATIME: linux.MS_NOATIME,
    os.ST_NODIRATIME: linux.MS_NODIRATIME,
    os.ST_RELATIME: linux.MS_RELATIME,
}


def isolate() -> bool:
    """Leave the host's namespaces; returns whether this process now has a network of its own.

    Raises OSError where the machine refuses. Sites that allow user namespaces may still refuse
    those of the network (`user.max_net_namespaces`); the system-call filter then stands alone.
    """
    privileged = linux.has_capability(linux.CAP_SYS_ADMIN)
    user, group = os.getuid(), os.getgid()
    spaces = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
    linux.unshare(spaces if privileged else spaces | linux.CLONE_NEWUSER)
    if not privileged:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{INSIDE_ID} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{INSIDE_ID} {group} 1")
    try:
        linux.unshare(linux.CLONE_NEWNET)
    except OSError:
        return False
    return True


def build_view(root: str, readable: Sequence[str]) -> None:
    """Show this mount namespace `readable`, read-only, devices without harm, and nothing else.

    root: an empty folder, over which the new root is built. `PLACE` is left to be mounted for each
    program; /tmp leads there unless something readable lies in /tmp. A fresh /proc shows only this
    world's processes; inside some containers the kernel refuses it, and programs then have none.
    """
    linux.mount("", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", root, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=1m,mode=755")
    for path in outermost(readable):
        _show(path, root)
    for folder in ("/proc", "/dev", PLACE):
        Path(root + folder).mkdir(parents=True, exist_ok=True)
    for device in _DEVICES:
        _bind(f"/dev/{device}", f"{root}/dev/{device}")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        Path(root, "dev", name).symlink_to(f"/proc/self/fd/{number}")
    Path(root, "dev/fd").symlink_to("/proc/self/fd")
    if not Path(root, "tmp").exists():
        Path(root, "tmp").symlink_to(PLACE)
    Path(root, "dev/shm").symlink_to(SHARED_MEMORY)  # among the program's files, and as limited
    with contextlib.suppress(PermissionError):
        flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        linux.mount("proc", f"{root}/proc", "proc", flags)
    linux.enter_root(root)
    linux.mount("", "/", "", linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | _kept("/"))


def outermost(paths: Sequence[str]) -> list[str]:
    """The paths that exist and lie in no other of them, links resolved only for this test."""
    chosen: list[str] = []
    for path in sorted({os.path.normpath(path) for path in paths if os.path.lexists(path)}):
        folders = [other for other in chosen if not Path(other).is_symlink()]
        if not any(path.startswith(f"{folder}/") for folder in folders):
            chosen.append(path)
    return chosen


def _show(path: str, root: str) -> None:
    target = Path(root + path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if Path(path).is_symlink():  # /bin on most systems, an interpreter in many environments
        target.symlink_to(Path(path).readlink())
        return
    _bind(path, str(target))
    for mounted in _mounts_beneath(str(target)):
        flags = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | _kept(mounted)
        linux.mount("", mounted, "", flags | linux.MS_NOSUID)


def _bind(source: str, target: str) -> None:
    place = Path(target)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir(exist_ok=True) if Path(source).is_dir() else place.touch()
    linux.mount(source, target, "", linux.MS_BIND | linux.MS_REC)


def _mounts_beneath(folder: str) -> list[str]:
    """Mount points at and under `folder`, from proc_pid_mountinfo(5), its octal escapes undone."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [
        re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), line.split()[4]) for line in lines
    ]
    return [point for point in points if point == folder or point.startswith(f"{folder}/")]


def _kept(path: str) -> int:
    held = os.statvfs(path).f_flag
    return sum(flag for given, flag in _KEPT_FLAGS.items() if held & given)
