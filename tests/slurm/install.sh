#!/usr/bin/env bash
# What the tests on a SLURM cluster need, by Debian's packages; nothing where it is there.
# usage: install.sh [ETC]
set -euo pipefail
etc=${1:-/etc}
missing=()
for program in munged slurmctld slurmd srun; do command -v "$program" > /dev/null || missing+=("$program"); done
[ ${#missing[@]} -eq 0 ] && exit 0
for file in "$etc"/slurm/*.conf "$etc"/munge/munge.key; do
  if [ -e "$file" ] || [ -L "$file" ]; then
    echo "$file is there, without ${missing[*]}: this machine may be in a SLURM cluster, so nothing is installed." >&2
    echo "Run \`make test-slurm\` on a machine, or in a container, that is in none." >&2
    exit 1
  fi
done
if [ "$(id -u)" -ne 0 ]; then
  echo "The tests on a cluster bring up SLURM as root, and need ${missing[*]}: run \`make test-slurm\` as root." >&2
  exit 1
fi
if ! command -v apt-get > /dev/null; then
  echo "The tests on a cluster need ${missing[*]}: install SLURM (22.05 or newer) and munge; here is no apt-get." >&2
  exit 1
fi
# the packages' own services start neither now nor with the machine: the tests bring up what they need
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
fi
apt-get update --quiet --quiet
DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes slurm-wlm munge > /dev/null
if command -v systemctl > /dev/null; then systemctl --quiet disable munge slurmctld slurmd > /dev/null 2>&1 || true; fi
