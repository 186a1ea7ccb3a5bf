"""What is missing on a machine gets a sentence."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from trainyard.config.code import SOURCE, closure

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


STAGES = {
    "data": (
        "trainyard.data.sources",
        "trainyard.data.tokenizers",
        "trainyard.data.tokenize",
        "trainyard.data.statistics",
    ),
    "train": (
        "trainyard.train.run",
        "trainyard.train.main",
        "trainyard.models.pretrained",
        "trainyard.measure.throughput",
    ),
    "deepspeed": ("trainyard.train.run", "trainyard.train.main", "trainyard.parallel.deepspeed"),
    "colossalai": ("trainyard.train.run", "trainyard.train.main", "trainyard.parallel.colossalai"),
    "evaluate": ("trainyard.evaluate.perplexity", "trainyard.evaluate.hellaswag", "trainyard.evaluate.rouge"),
    "report": ("trainyard.report.overview", "trainyard.report.comparison", "trainyard.report.scaling"),
}
PACKAGE_OF = {
    "yaml": "pyyaml",
    "rouge_score": "rouge-score",
    "huggingface_hub": "huggingface-hub",
    "tiktoken_ext": "tiktoken",
    "typing_extensions": "typing-extensions",
}


@pytest.mark.parametrize("stage", STAGES)
def test_an_environment_holds_what_its_stage_imports(stage: str) -> None:
    pinned = set(re.findall(r"- ([\w-]+)==", (ROOT / "envs" / f"{stage}.yaml").read_text()))
    files = [SOURCE.joinpath(*name.split(".")) for name in closure(*STAGES[stage], "trainyard.job")]
    text = "\n".join(path.with_suffix(".py").read_text() for path in files if path.with_suffix(".py").is_file())
    imported = set(re.findall(r"^(?:from|import) (\w+)", text, flags=re.MULTILINE))
    third = imported - set(__import__("sys").stdlib_module_names) - {"trainyard"}
    assert {PACKAGE_OF.get(name, name) for name in third} <= pinned


def test_profiles_are_yaml_and_retry_in_the_cluster_alone() -> None:
    default = yaml.safe_load((ROOT / "profiles" / "default" / "config.yaml").read_text())
    slurm = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    assert default["rerun-incomplete"]
    assert slurm["rerun-incomplete"]
    assert "retries" not in default
    assert not [path for path in (ROOT / "rules").glob("*.smk") if "retries:" in path.read_text()]
