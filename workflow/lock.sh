#!/usr/bin/env bash
# Write requirements.lock, requirements-dev.lock and requirements-colossalai.lock from the .in files beside them,
# and envs/*.yaml from theirs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --requirement requirements.in
# what torch's builds for CUDA bring, these pin themselves
freeze() {
  "$folder/bin/pip" freeze --all --exclude pip | sed 's/+cpu$//' | grep --invert-match '^nvidia-\|^cuda-\|^triton='
}
environments() { PYTHONPATH=src "$folder/bin/python" -m trainyard.tools.conda_environments "$@"; }
freeze > requirements.lock
environments
"$folder/bin/pip" install --quiet --requirement requirements-dev.in
freeze | grep --invert-match --line-regexp --fixed-strings --file requirements.lock > requirements-dev.lock
"$folder/bin/pip" install --quiet --no-deps --requirement requirements-colossalai.in
freeze | grep --invert-match --line-regexp --fixed-strings --file requirements.lock --file requirements-dev.lock \
  > requirements-colossalai.lock
"$folder/bin/pip" install --quiet --dry-run --ignore-installed --requirement envs/colossalai.in \
  --report "$folder/colossalai.json"
environments colossalai "$folder/colossalai.json"
