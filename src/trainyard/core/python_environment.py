"""The packages of a Python environment, this one or another, found out without importing them."""

import functools
import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import yaml

from trainyard import OLDEST_PYTHON
from trainyard.core.errors import InputError

TRAINING = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "deepspeed", "colossalai")
"""The packages on which weights depend."""

_QUESTION = """import json, sys, sysconfig
print(json.dumps([sys.version.split()[0], sys.path, sysconfig.get_path("include")]))"""


@dataclass(frozen=True)
class Interpreter:
    """What an interpreter says of itself: its version, where it finds packages, and where its headers should be."""

    version: str
    paths: tuple[str, ...]
    include: str

    @property
    def has_headers(self) -> bool:
        """Whether extensions can be built for it: Debian has its headers in a package of their own."""
        return Path(self.include, "Python.h").is_file()


@functools.cache
def inspect_interpreter(python: str = sys.executable) -> Interpreter:
    """Ask an interpreter; without the user's own packages, which our processes don't see.

    Raises:
        InputError: it can't be started, or is too old.
    """
    if python == sys.executable:
        return Interpreter(sys.version.split()[0], tuple(sys.path), sysconfig.get_path("include"))
    return _query_interpreter(python)


def ignore_user_packages() -> None:
    """Find packages where this interpreter does by itself, as do the processes that it starts.

    Snakemake appends its own packages to the path of a script: what the conda environment of
    a job lacks would silently be taken from there. The first entry of the path stays.
    """
    sys.path[1:] = _query_interpreter(sys.executable).paths


def _query_interpreter(python: str) -> Interpreter:
    try:
        if not Path(python).is_file():
            raise InputError(f"{python}: there is no such file; give the path of an environment's bin/python")
        done = subprocess.run([python, "-I", "-c", _QUESTION], capture_output=True, text=True, timeout=60, check=True)
        version, paths, include = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        message = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise InputError(f"{python}: can't be started as Python ({message[-1] if message else 'no output'})") from None
    if tuple(map(int, version.split(".")[:2])) < OLDEST_PYTHON:
        raise InputError(f"{python}: is Python {version}; make its environment with 3.11 or newer")
    return Interpreter(version, tuple(paths), include)


@functools.cache
def package_version(package: str, python: str = sys.executable) -> str | None:
    """The version of a package that is installed for an interpreter, or None."""
    distribution = next(iter(distributions(name=package, path=[*inspect_interpreter(python).paths])), None)
    return distribution.version if distribution else None


def package_versions(packages: Sequence[str], python: str = sys.executable) -> dict[str, str | None]:
    """The versions of an interpreter and of packages; None: not installed."""
    return {"python": inspect_interpreter(python).version, **{name: package_version(name, python) for name in packages}}


def find_framework(packages: Sequence[str]) -> str | None:
    """The framework of a parallel setting: the first of the packages that it needs, without a version."""
    match = re.match(r"[\w.-]+", packages[0]) if packages else None
    return match[0] if match else None


def extensions_root() -> Path:
    """Where extensions are built: $TORCH_EXTENSIONS_DIR, or else below ~/.cache, whatever the repository's path."""
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or "~/.cache/torch_extensions").expanduser()


def find_spaced_path(python: str) -> str | None:
    """What keeps torch from linking an extension: a path with spaces, of its own libraries or of what it builds."""
    paths = (str(extensions_root().absolute()), str(Path(python).absolute().parent))
    return next((path for path in paths if re.search(r"\s", path)), None)


def read_pins(environment: Path) -> dict[str, str]:
    """The packages that a conda environment file pins (`name=1.0`, and `name==1.0` under pip), with versions."""
    dependencies = yaml.safe_load(environment.read_text(encoding="utf-8"))["dependencies"]
    lines = [line for entry in dependencies for line in (entry["pip"] if isinstance(entry, dict) else [entry])]
    return dict(re.split("==?", line, maxsplit=1) for line in lines if "=" in line)
