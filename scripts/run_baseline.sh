#!/usr/bin/env bash
# Evaluate the base model only:  scripts/run_baseline.sh [OPTIONS OF SNAKEMAKE, --cores all by default]
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- --cores all
exec snakemake baseline "$@"
