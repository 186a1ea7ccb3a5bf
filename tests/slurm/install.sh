#!/usr/bin/env bash
# What the tests on a SLURM cluster need, by Debian's packages; nothing where it is there.
set -euo pipefail
missing=()
for program in munged slurmctld slurmd srun; do command -v "$program" > /dev/null || missing+=("$program"); done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
  echo "The tests on a cluster bring up SLURM as root, and need ${missing[*]}: run \`make test-slurm\` as root." >&2
  exit 1
fi
if ! command -v apt-get > /dev/null; then
  echo "The tests on a cluster need ${missing[*]}: install SLURM (22.05 or newer) and munge; here is no apt-get." >&2
  exit 1
fi
apt-get update --quiet --quiet
DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes slurm-wlm munge > /dev/null
