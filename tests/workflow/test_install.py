"""What is missing on a machine gets a sentence."""

import os
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


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
    done = install(tmp_path, "exit 1")
    assert done.returncode == 1
    assert done.stderr.startswith("Trainyard needs Python 3.11 or 3.12; found: Python 3.")
    assert "Traceback" not in done.stderr


def test_a_missing_venv_module_is_a_sentence(tmp_path: Path) -> None:
    done = install(tmp_path, 'case "$*" in *ensurepip*) exit 1;; *--version*) echo Python 3.11.2;; esac')
    assert done.returncode == 1
    assert "Python's venv module is missing (Python 3.11.2)" in done.stderr


def test_profiles_are_yaml_and_retry_in_the_cluster_alone() -> None:
    default = yaml.safe_load((ROOT / "profiles" / "default" / "config.yaml").read_text())
    slurm = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    assert default["rerun-incomplete"]
    assert slurm["rerun-incomplete"]
    assert "retries" not in default
    assert not [path for path in (ROOT / "rules").glob("*.smk") if "retries:" in path.read_text()]
