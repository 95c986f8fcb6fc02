#!/bin/sh
# What lines of the fault matrix need beyond Python: systemd's own check of unit files. On a Debian of which we are root it
# is installed; anywhere else those lines are skipped, and say why.
set -u
command -v systemd-analyze >/dev/null && exit 0
command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || exit 0
export DEBIAN_FRONTEND=noninteractive
{ apt-get update && apt-get install -y --no-install-recommends systemd; } </dev/null >&2 ||
    echo 'faults: systemd cannot be installed: the lines that need systemd-analyze are skipped' >&2
