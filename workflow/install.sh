#!/usr/bin/env bash
# Make a virtual environment with the pinned dependencies; says in a sentence what the machine lacks.
# usage: workflow/install.sh FOLDER    (PYTHON=/path/to/python chooses the interpreter)
set -euo pipefail
folder=$1
right='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'
for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
  "$python" -c "$right" 2>/dev/null && break || python=
done
if [ -z "$python" ]; then
  echo "Trainyard needs Python 3.11 to 3.14; found: $("${PYTHON:-python3}" --version 2>&1 || true)." \
    "Install one, or name it: make PYTHON=/path/to/python3.13" >&2
  exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  echo "Python's venv module is missing ($("$python" --version)). On Debian and Ubuntu: apt-get install python3-venv" >&2
  exit 1
fi
# what requirements.lock has no wheel for holds no C code, but for immutables on 3.14
builds='import os, shutil, sys, sysconfig
compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
header = os.path.join(sysconfig.get_path("include"), "Python.h")
sys.exit(sys.version_info >= (3, 14) and not (shutil.which(compiler.split()[0]) and os.path.exists(header)))'
if ! "$python" -c "$builds"; then
  echo "On $("$python" --version) the package immutables is built, which takes a C compiler and Python's headers." \
    "On Debian and Ubuntu: apt-get install gcc python3-dev" >&2
  exit 1
fi
start=$SECONDS
echo "Installing into $folder (about 2 GB; two to four minutes) ..."
"$python" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.lock
echo "Installing ColossalAI without its pins (pip check names what it would rather have) ..."
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement requirements-colossalai.lock
touch "$folder/installed"
echo "Installed in $((SECONDS - start)) s."
