"""What is missing on a machine gets a sentence."""

import os
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trainyard import NEWEST_PYTHON, OLDEST_PYTHON, PYTHONS

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = [f"3.{minor}" for minor in range(OLDEST_PYTHON[1], NEWEST_PYTHON[1] + 1)]
LOCKS = [ROOT / name for name in ("requirements.lock", "requirements-dev.lock")]
LOCKED = [entry for lock in LOCKS for entry in lock.read_text().split()]
OF_CUDA = ("nvidia-", "cuda-", "triton")  # what torch's build for CUDA brings, by its own pins
SOURCE_PACKAGES = ("connection-pool", "deepspeed", "rouge-score", "sqlitedict", "word2number")  # without C code


def locked(entry: str) -> tuple[str, str]:
    """The name and the version in a line of a lock."""
    name, version = entry.split("==")
    return canonicalize_name(name), version


def install(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run the installer with an interpreter that is the given shell script."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return subprocess.run(
        [ROOT / "workflow" / "install.sh", tmp_path / "venv"],
        env={**os.environ, "PYTHON": str(python)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_python_of_another_version_is_a_sentence(tmp_path: Path) -> None:
    done = install(tmp_path, '[ "$*" = --version ] && echo Python 3.10.4 || exit 1')
    assert done.returncode == 1
    assert done.stderr.startswith(f"Trainyard needs {PYTHONS}; found: Python 3.10.4. Install one, or name it: ")


def test_a_missing_venv_module_is_a_sentence(tmp_path: Path) -> None:
    done = install(tmp_path, 'case "$*" in *ensurepip*) exit 1;; *--version*) echo Python 3.11.2;; esac')
    assert done.returncode == 1
    assert "Python's venv module is missing (Python 3.11.2)" in done.stderr


def test_a_compiler_or_headers_that_are_missing_where_a_package_is_built_are_a_sentence(tmp_path: Path) -> None:
    done = install(tmp_path, 'case "$*" in *Python.h*) exit 1;; *--version*) echo Python 3.14.0;; esac')
    assert done.returncode == 1
    assert done.stderr.startswith("On Python 3.14.0 the package immutables is built, which takes a C compiler and ")
    assert done.stderr.endswith("apt-get install gcc python3-dev\n")


def test_the_pythons_are_the_same_wherever_they_are_named() -> None:
    oldest, newest = OLDEST_PYTHON, NEWEST_PYTHON
    assert f"Python {oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}" == PYTHONS
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert about["project"]["requires-python"] == f">={oldest[0]}.{oldest[1]},<{newest[0]}.{newest[1] + 1}"
    script = (ROOT / "workflow" / "install.sh").read_text()
    assert f"not {oldest} <= sys.version_info[:2] <= {newest}" in script
    assert " ".join(["python3", *(f"python{version}" for version in reversed(VERSIONS))]) in script
    assert PYTHONS in (ROOT / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_the_lock_has_wheels_for_each_python_but_of_the_packages_that_are_built(version: str) -> None:
    built = {*SOURCE_PACKAGES, *(["immutables"] if version == "3.14" else [])}
    wheels = ["--only-binary", ":all:", *(word for name in built for word in ("--no-binary", name))]
    system = ["--python-version", version, "--python-platform", "x86_64-manylinux_2_28"]
    asked = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--no-deps",
        *wheels,
        *system,
        "--no-header",
        "--no-annotate",
        *LOCKS,
    ]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert {*map(locked, done.stdout.split())} == {*map(locked, LOCKED)}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_lock_is_all_that_each_python_installs(version: str) -> None:
    names = {locked(entry)[0] for entry in LOCKED}
    python = {"python_version": version, "python_full_version": f"{version}.0", "extra": ""}
    entries = [Requirement(entry) for name in names for entry in metadata.requires(name) or []]
    needed = {canonicalize_name(each.name) for each in entries if each.marker is None or each.marker.evaluate(python)}
    assert not [name for name in needed - names if not name.startswith(OF_CUDA)]


def test_profiles_are_yaml_and_retry_in_the_cluster_alone() -> None:
    default = yaml.safe_load((ROOT / "profiles" / "default" / "config.yaml").read_text())
    slurm = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    assert default["rerun-incomplete"]
    assert slurm["rerun-incomplete"]
    assert "retries" not in default
    assert not [path for path in (ROOT / "rules").glob("*.smk") if "retries:" in path.read_text()]
