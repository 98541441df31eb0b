#!/usr/bin/env bash
# The root file system of a base for images, from this machine's own source of packages: Debian 12, whose Python is 3.11.
#
#   make_base.sh FOLDER
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
dpkg --status mmdebstrap > /dev/null 2>&1 || apt-get -qy install --no-install-recommends mmdebstrap
"$here/debian_source.sh" bookworm |
    mmdebstrap --quiet --variant=minbase --include=python3-venv,ca-certificates bookworm "$1" -
rm -rf "${1:?}"/dev/*
chown -hR 0:0 "$1"  # builds without root know no other user
