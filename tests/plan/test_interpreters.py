"""A framework may have an environment of its own, whose interpreter config.yaml names."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from trainyard.config.catalogue import ParallelSetting
from trainyard.core.errors import InputError
from trainyard.core.python_environment import TRAINING, inspect_interpreter, package_version, package_versions
from trainyard.plan.capabilities import Machine, explain_unsupported
from trainyard.plan.code_hash import SOURCE
from trainyard.plan.configuration import Plan
from trainyard.plan.jobs import Dag
from trainyard.train.work_folder import folder_key

NEEDS = ParallelSetting.model_validate(
    {"title": "t", "engine": "e", "precision": ["fp32"], "packages": ["deepspeed", "transformers<5"]}
)


def test_its_packages_are_those_of_its_environment(other_python: str) -> None:
    capabilities = Machine("cpu", {"deepspeed": other_python}).capabilities(
        NEEDS, False, environment={"deepspeed": "9"}
    )
    assert capabilities["packages"] == {"deepspeed": "0.18.0", "torch": "2.5.1", "transformers": "4.51.3"}
    assert explain_unsupported(NEEDS, "gpt2", "fp32", 1, capabilities) is None
    here = Machine("cpu", {"colossalai": other_python}).capabilities(NEEDS, compiled=False)
    assert here["packages"] == {name: package_version(name) for name in ("deepspeed", "transformers")}
    assert (
        explain_unsupported(NEEDS, "gpt2", "fp32", 1, here)
        == f"needs transformers<5, {package_version('transformers')} here"
    )


def test_the_versions_of_a_run_are_those_of_the_interpreter_that_trains_it(other_python: str) -> None:
    found = package_versions(TRAINING, other_python)
    assert found["torch"] == "2.5.1"
    assert found["python"] == package_versions(TRAINING)["python"] == platform.python_version()
    assert found["numpy"] is None
    assert package_versions(TRAINING)["numpy"] is not None
    assert folder_key({}, {}, "code", other_python) != folder_key({}, {}, "code")


def test_a_run_changes_with_the_packages_and_not_with_the_path(plan: Callable[..., Plan], other_python: str) -> None:
    train = {"steps": 10, "batch": 8, "sequence_length": 64, "learning_rate": 1e-3}
    grid = {"datasets": ["tinyworld"], "models": ["gpt2-tiny"], "parallel": ["ddp", "zero2"], "train": train}
    study = {"title": "A study", "question": "Where?", "grids": [grid]}
    made = plan(study, interpreters={"deepspeed": other_python})
    dag, before = (Dag(each, Path("envs"), conda=False) for each in (made, plan(study)))
    for name in made.studies["s"].runs:
        at = SimpleNamespace(study="s", run=name)
        assert dag.specification(at) == before.specification(at)
        assert (dag.capabilities(at) == before.capabilities(at)) == ("ddp" in name)
        assert other_python not in str(dag.capabilities(at))


def test_a_framework_that_no_setting_uses_is_a_mistake(plan: Callable[..., Plan]) -> None:
    said = "config.yaml: interpreters: no framework of a parallel setting named 'deepsped'; did you mean 'deepspeed'?"
    with pytest.raises(InputError, match=re.escape(said)):
        plan(interpreters={"deepsped": sys.executable})


def broken(folder: Path, text: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "there is no such file; give the path of an environment's bin/python"),
        ("echo no packages >&2; exit 1", "can't be started as Python (no packages)"),
        ("echo hello", "can't be started as Python"),
        ("""echo '["3.9.2", [], ""]'""", "is Python 3.9.2; make its environment with 3.11 or newer"),
    ],
)
def test_a_broken_interpreter_is_named_with_its_key(
    plan: Callable[..., Plan], tmp_path: Path, text: str | None, reason: str
) -> None:
    python = broken(tmp_path, text) if text else str(tmp_path / "none")
    with pytest.raises(InputError, match=re.escape(f"config.yaml: interpreters.deepspeed: {python}: {reason}")):
        plan(interpreters={"deepspeed": python})


def test_an_interpreter_is_asked_once(tmp_path: Path) -> None:
    python = broken(tmp_path, f'echo asked >> {tmp_path}/log; exec {sys.executable} "$@"')
    for package in ("torch", "no-such-package", "transformers"):
        package_version(package, python)
    assert inspect_interpreter(python).version == platform.python_version()
    assert (tmp_path / "log").read_text() == "asked\n"


def test_a_script_sees_its_interpreters_own_packages_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text("")
    script = f"""
import importlib.util, json, sys
sys.path[0] = {str(SOURCE)!r}
sys.path.append({str(tmp_path)!r})
from trainyard.core.python_environment import ignore_user_packages
ignore_user_packages()
print(json.dumps([name for name in ("elsewhere", "trainyard.core.job", "pydantic") if importlib.util.find_spec(name)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout) == ["trainyard.core.job", "pydantic"]
