#!/usr/bin/env bash
# One line for sources.list: the main packages of a Debian suite, from wherever this machine gets its own.
#
#   debian_source.sh SUITE
set -euo pipefail

. /etc/os-release
address=$(apt-get indextargets --format '$(REPO_URI)' \
    "Created-By: Packages" "Codename: $VERSION_CODENAME" "Component: main" | head -n 1)
[ -n "$address" ] || { echo "debian_source.sh: no source of $VERSION_CODENAME's packages: run apt-get update" >&2; exit 1; }
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $address $1 main"
