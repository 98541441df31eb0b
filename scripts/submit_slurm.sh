#!/usr/bin/env bash
# Run Snakemake itself as a small SLURM job, which sends the study's jobs and outlives your connection:
#
#     scripts/submit_slurm.sh [OPTIONS OF SNAKEMAKE, like --configfile config/qwen7b.yaml]
#
# It goes on where an earlier one stopped, so submit it again after whatever happened. It needs as long a
# time as the study: sbatch reads SBATCH_TIMELIMIT, SBATCH_PARTITION and SBATCH_ACCOUNT. Two minutes before
# that time is over it cancels its jobs and leaves the folder in order.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p results/slurm
prefix=$(sed -n 's/^slurm-jobname-prefix: *\([^ ]*\).*/\1/p' slurm/config.yaml)
{
    printf '#!/bin/sh\nPATH=%s/.venv/bin:$PATH\nexport PATH\n' "${PWD@Q}"
    printf 'exec python scripts/resume.py -- --profile slurm %s\n' "${*@Q}"
} |
    sbatch --job-name "$prefix-controller" --output results/slurm/controller-%j.log \
        --ntasks 1 --cpus-per-task 1 --mem 4000 --signal B:INT@120
