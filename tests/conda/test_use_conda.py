"""`snakemake --use-conda` with a stand-in for conda, which no machine of tests need have: conda_stand_in.py.

Snakemake, the environment files, solver, linker, pip and every job are real.
"""

import re
import zipfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from changes import python
from conda_environments import TARGETS, TRAINED, InEnvironments

from trainyard.core.files import read_json, sha256_file

pytestmark = pytest.mark.slow


def test_every_job_runs_with_the_python_of_its_environment(environments: InEnvironments) -> None:
    assert all((environments.repository.folder / target).is_file() for target in TARGETS)
    scripts, modules = set(), set()
    for stage, words in environments.started():
        if script := re.search(r"/scripts/\S*?\.(\w+)\.py$", words):
            scripts.add((script[1], stage))
        if module := re.search(r"trainyard\.launch\.worker (\S+)", words):
            modules.add((module[1], stage))
    assert scripts == {
        *((script, "data") for script in ("download", "tokenizer", "tokenize")),
        *((script, "train") for script in ("train", "parity", "peak")),
        *((script, "report") for script in ("table", "figure")),
        ("train", "deepspeed"),
        ("evaluate", "evaluate"),
    }
    assert modules == {
        ("trainyard.measure.peak_worker", "train"),
        *(
            (module, stage)
            for module in ("torch.distributed.run", "trainyard.train.worker")
            for stage in ("train", "deepspeed")
        ),
    }


def test_verify_compares_an_environment_with_its_file_and_not_with_its_own_packages(
    environments: InEnvironments,
) -> None:
    folder = environments.repository.folder
    record = read_json(folder / TRAINED.replace("summary", "provenance"))
    sha256 = sha256_file(folder / "envs" / "train.yaml")
    assert record["conda"] == {"file": "envs/train.yaml", "sha256": sha256}
    done = python(folder, "-m", "trainyard.provenance.verify", "conda")
    assert "\nversions: " not in f"\n{done.stdout}", done.stdout
    with environments.repository.edited("envs/train.yaml", "- pip:", "- pip:\n      - some-package==1.2"):
        done = python(folder, "-m", "trainyard.provenance.verify", "conda")
    assert f"made in the environment of another envs/train.yaml: {sha256[:12]}, now " in done.stdout


def test_nothing_changed_nothing_runs(environments: InEnvironments) -> None:
    assert "Nothing to be done" in environments.snakemake("-n", *TARGETS)


def test_a_changed_environment_is_created_anew_and_its_jobs_rerun(environments: InEnvironments) -> None:
    _make_wheel(environments.repository.folder.parent / "wheels", "some_package", "1.2")
    before = len(environments.started())
    with environments.repository.edited("envs/report.yaml", "- pip:", "- pip:\n      - some-package==1.2"):
        assert environments.create(*TARGETS) == {"report"}
        environments.snakemake(*TARGETS)
        started = {words: stage for stage, words in environments.started()[before:] if "/scripts/" in words}
        assert list(started.values()) == ["report"] * len(TARGETS)
        assert len([*environments.folder.glob("*/lib/*/site-packages/some_package")]) == 1
    assert "Nothing to be done" in environments.snakemake("-n", TRAINED)


def test_a_package_missing_in_a_scripts_environment_is_named(environments: InEnvironments) -> None:
    said = _train_without(environments, "psutil", "accelerate", "peft")
    assert "No module named 'psutil'" in said
    assert "scripts/" in said


def test_a_package_missing_in_a_trainers_environment_is_named(environments: InEnvironments) -> None:
    """The script and torchrun do without it; the ranks that torchrun starts don't."""
    said = _train_without(environments, "transformers", "peft")
    assert "No module named 'transformers'" in said
    assert "trainyard.train.worker exited with status 1" in said


def _train_without(environments: InEnvironments, package: str, *dependents: str) -> str:
    """What is said when the run trains in an environment that lacks a package, and those that depend on it."""
    file = environments.repository.folder / "envs" / "train.yaml"
    with ExitStack() as stack:
        for name in (package, *dependents):
            (line,) = re.findall(rf" *- {name}==.*\n", file.read_text())
            stack.enter_context(environments.repository.edited("envs/train.yaml", line, ""))
        said = environments.snakemake(TRAINED, check=False)
    assert "Error in rule train" in said
    assert not (environments.repository.folder / TRAINED).exists()
    return said


def _make_wheel(folder: Path, name: str, version: str) -> None:
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}/__init__.py", "")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
