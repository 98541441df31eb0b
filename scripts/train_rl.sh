#!/usr/bin/env bash
# Train every run up to its last checkpoint:  scripts/train_rl.sh [OPTIONS OF SNAKEMAKE, --cores all by default]
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- --cores all
exec snakemake training "$@"
