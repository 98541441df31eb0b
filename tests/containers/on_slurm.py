"""The study in containers as jobs of a SLURM, and the attacks in a container within a job.

    tests/cluster/with_slurm.sh python -m containers.on_slurm INSIDE OUTSIDE EVERY

INSIDE has the images, OUTSIDE the results of a study without containers; each EVERYth attack is
tried. The last lines printed are what was found.
"""

import os
import subprocess
import sys
from pathlib import Path

from checkout import ROOT

from containers.study import attack_as_ordinary_user, compare, run_workflow
from slurm import HASTE, call, clone, proposed

# A job of an ordinary user, with the memory that a program of the suite may take.
JOB = ("srun", "--quiet", "--ntasks=1", "--cpus-per-task=2", "--mem=8000", "--time=60")


def main(inside: Path, outside: Path, every: int) -> None:
    values = proposed(call(ROOT, sys.executable, "scripts/check_cluster.py"))
    folder = clone(inside.with_name("slurm"), values)
    for image in inside.glob("containers/*.sif*"):
        (folder / "containers" / image.name).symlink_to(image)
    run_workflow(folder, "--profile", "slurm", "--sdm", "apptainer", *HASTE)
    studied = compare(folder, outside, list((folder / "results/slurm").glob("*/**/*.log")))
    attacked = attack_as_ordinary_user(folder, every, *JOB)
    print(f"on SLURM: {studied}", f"in a job of SLURM, {attacked}", sep="\n")


if __name__ == "__main__":
    os.umask(0o022)  # for the ordinary user
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    except subprocess.CalledProcessError as wrong:
        sys.exit(f"{wrong}\n{wrong.stdout}\n{wrong.stderr}")
