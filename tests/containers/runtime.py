"""What images are built and run with: Apptainer where it works, else bubblewrap in its place."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Runtime:
    """The program `apptainer` in a folder. `missing` says why it is not the real one."""

    folder: Path
    missing: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}"}

    @property
    def version(self) -> str:
        return "bubblewrap" if self.missing else self("--version").strip()

    def __call__(self, *arguments: str | Path) -> str:
        """What `apptainer` prints; raises CalledProcessError, with what it says, when it fails."""
        command = [self.folder / "apptainer", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        return done.stdout


def find_runtime(folder: Path, base: Path, image: Path) -> Runtime:
    """One that builds `image` from the folder `base` and enters it: installed, fetched, or else."""
    try:
        runtime = Runtime(_apptainer(folder / "apptainer"))
        _try(runtime, base, image)
    except subprocess.CalledProcessError as failed:
        said = (failed.stderr or failed.stdout or str(failed)).strip().splitlines()[-1]
        runtime = stand_in(folder / "bubblewrap", said)
        _try(runtime, base, image)
    return runtime


def stand_in(folder: Path, missing: str) -> Runtime:
    """bubblewrap under the name of Apptainer."""
    if shutil.which("bwrap") is None:
        _run("apt-get", "-qy", "install", "--no-install-recommends", "bubblewrap")
    folder.mkdir(exist_ok=True)
    shutil.copy2(HERE / "bubblewrap_runtime.py", folder / "apptainer")
    return Runtime(folder, missing)


def make_base(folder: Path) -> None:
    _run(HERE / "make_base.sh", folder)


def _apptainer(folder: Path) -> Path:
    installed = shutil.which("apptainer")
    if installed:
        return Path(installed).parent
    if not (folder / "bin/apptainer").exists():
        _run(HERE / "get_apptainer.sh", folder)
    return folder / "bin"


def _try(runtime: Runtime, base: Path, image: Path) -> None:
    runtime("build", "--force", image, base)
    runtime("exec", image, "true")


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
