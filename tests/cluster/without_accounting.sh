#!/usr/bin/env bash
# Restart SLURM's controller as on a cluster that keeps no accounts.
set -euo pipefail
: "${SLURM_OF_TESTS:?only for the SLURM that with_slurm.sh starts}"
sed -i -e '/^Accounting/d' /etc/slurm/slurm.conf
pkill '^slurm(d|ctld|dbd)$'
while pgrep '^slurm(d|ctld|dbd)$' >/dev/null; do sleep 0.2; done
slurmctld
slurmd
until sinfo --noheader --format %T | grep -q idle; do sleep 0.2; done
