#!/usr/bin/env bash
# Write requirements.lock and requirements-dev.lock from requirements.in and requirements-dev.in.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --requirement requirements.in
freeze() { "$folder/bin/pip" freeze | sed 's/+cpu$//'; }
freeze > requirements.lock
"$folder/bin/pip" install --quiet --requirement requirements-dev.in
freeze | grep --invert-match --line-regexp --fixed-strings --file requirements.lock > requirements-dev.lock
