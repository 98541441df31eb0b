#!/usr/bin/env bash
# Evaluate the base model only:  scripts/run_baseline.sh [OPTIONS OF SNAKEMAKE, --cores all by default]
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
case " $*" in *" --cores"* | *" -c"* | *" --jobs"* | *" -j"* | *" --profile"*) ;; *) set -- --cores all "$@" ;; esac
exec snakemake baseline "$@"
