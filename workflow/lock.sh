#!/usr/bin/env bash
# Write requirements.lock, requirements-dev.lock and requirements-colossalai.lock from the .in files beside them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --requirement requirements.in
freeze() { "$folder/bin/pip" freeze | sed 's/+cpu$//'; }
freeze > requirements.lock
"$folder/bin/pip" install --quiet --requirement requirements-dev.in
freeze | grep --invert-match --line-regexp --fixed-strings --file requirements.lock > requirements-dev.lock
"$folder/bin/pip" install --quiet --no-deps --requirement requirements-colossalai.in
freeze | grep --invert-match --line-regexp --fixed-strings --file requirements.lock --file requirements-dev.lock \
  > requirements-colossalai.lock
