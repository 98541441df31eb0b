#!/usr/bin/env bash
# A base for images, made of this machine's own source of Debian packages: Debian 12, whose Python is 3.11.
#
#   make_base.sh IMAGE.sif
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
dpkg --status mmdebstrap > /dev/null 2>&1 || apt-get -qy install --no-install-recommends mmdebstrap
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$here/debian_source.sh" bookworm |
    mmdebstrap --quiet --variant=minbase --include=python3-venv,ca-certificates bookworm "$folder" -
rm -rf "${folder:?}"/dev/*
chown -hR 0:0 "$folder"  # builds without root know no other user
apptainer build --force "$1" "$folder"
