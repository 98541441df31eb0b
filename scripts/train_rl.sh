#!/usr/bin/env bash
# Train every run up to its last checkpoint:  scripts/train_rl.sh [OPTIONS OF SNAKEMAKE, --cores all by default]
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
case " $*" in *" --cores"* | *" -c"* | *" --jobs"* | *" -j"* | *" --profile"*) ;; *) set -- --cores all "$@" ;; esac
exec snakemake training "$@"
