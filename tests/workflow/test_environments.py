"""The conda environments, without building them: what they hold is what the lock says and what the code imports."""

import ast
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from repository import ROOT, Repository

from trainyard.core.errors import InputError
from trainyard.core.python_environment import read_pins
from trainyard.plan.code_hash import SOURCE, import_closure
from trainyard.tools.conda_environments import OF_THEIR_OWN, environment_file, read_lock, read_requirements

ENVIRONMENTS = ROOT / "envs"
LISTS = sorted(ENVIRONMENTS.glob("*.in"))
OF_THE_LOCK = [path for path in LISTS if path.stem not in OF_THEIR_OWN]
# together they have a job of every rule and of every engine
STUDIES = ("demo", "ladder", "parallel-settings", "real-small", "search", "summarisation")


@pytest.mark.parametrize("direct", OF_THE_LOCK, ids=lambda path: path.stem)
def test_an_environment_is_what_its_list_and_the_lock_make(direct: Path) -> None:
    expected = environment_file(direct, read_lock(ROOT / "requirements.lock"))
    assert direct.with_suffix(".yaml").read_text() == expected


def test_every_environment_has_a_list() -> None:
    assert {path.stem for path in ENVIRONMENTS.glob("*.yaml")} == {path.stem for path in LISTS}


def test_colossalai_has_an_environment_of_the_older_versions_that_it_wants() -> None:
    pinned = read_pins(ENVIRONMENTS / "colossalai.yaml")
    listed = {package.name: str(package.specifier) for package in read_requirements(ENVIRONMENTS / "colossalai.in")}
    assert {name: f"=={pinned[name]}" for name in listed} == listed
    assert (pinned["torch"], pinned["transformers"]) == ("2.5.1", "4.51.3")
    ours = {
        package.name: str(package.specifier) for package in read_requirements(ROOT / "requirements-colossalai.lock")
    }
    assert [name for name in ("colossalai", "bitsandbytes", "galore-torch") if ours[name] != listed[name]] == []


def test_a_package_that_is_not_locked_is_named(tmp_path: Path) -> None:
    direct = tmp_path / "stage.in"
    direct.write_text("no-such-package\n")
    with pytest.raises(InputError, match=r"requirements.lock: no-such-package is not in it; name it in .*\.in and run"):
        environment_file(direct, read_lock(ROOT / "requirements.lock"))


def test_the_tests_run_the_versions_of_the_lock() -> None:
    main, *others = (
        {canonicalize_name(package.name) for package in read_requirements(ROOT / f"requirements{kind}.lock")}
        for kind in ("", "-dev", "-colossalai")
    )
    assert [sorted(main & other) for other in others] == [[], []]


@pytest.mark.parametrize("script", sorted((ROOT / "workflow" / "scripts").glob("*.py")), ids=lambda path: path.stem)
def test_a_script_leaves_snakemakes_packages_before_it_imports_any(script: Path) -> None:
    own = "from trainyard.core.python_environment import ignore_user_packages\n\nignore_user_packages()\n"
    first, _, _ = script.read_text().partition(own)
    assert own in script.read_text()
    assert {name for name in _imports_of(first) if name.partition(".")[0] not in sys.stdlib_module_names} == set()


@pytest.mark.slow
def test_an_environments_list_names_what_its_rules_import(tmp_path: Path) -> None:
    jobs = _jobs(Repository(tmp_path / "trainyard"))
    assert {script for _, script, _ in jobs} == {path.stem for path in (ROOT / "workflow" / "scripts").glob("*.py")}
    assert {environment for environment, _, _ in jobs} == {path.stem for path in LISTS}
    missing = {}
    for environment, script, modules in jobs:
        there = {canonicalize_name(package.name) for package in read_requirements(ENVIRONMENTS / f"{environment}.in")}
        absent = _packages(script, modules) - there
        missing |= {(environment, script, *modules): sorted(absent)} if absent else {}
    assert missing == {}


@pytest.mark.slow
def test_the_packages_of_what_a_script_starts_are_among_those_of_its_rule() -> None:
    script = _packages("train", [])
    trainer = _packages("train", ["trainyard.train.worker", "trainyard.launch.worker", "trainyard.models.gpt2"])
    assert "torch" not in script
    assert {"torch", "transformers"} <= trainer


def _jobs(repository: Repository) -> list[tuple[str, str, list[str]]]:
    """Environment, script and modules of every kind of job."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("entries.py"), *STUDIES],
        cwd=repository.folder,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [tuple(job) for job in json.loads(done.stdout)]


def _packages(script: str, modules: Iterable[str]) -> set[str]:
    """The packages that a script and modules import, by their names in an index, wherever the import is."""
    file = ROOT / "workflow" / "scripts" / f"{script}.py"
    entries = [name for name in _imports(file) if name.startswith("trainyard.")]
    files = [file, *(_file(module) for module in import_closure(*entries, *(name for name in modules if "." in name)))]
    imported = {name.partition(".")[0] for each in files for name in _imports(each)}
    return {_distribution(name) for name in imported - set(sys.stdlib_module_names) - {"trainyard"}}


def _file(module: str) -> Path:
    path = SOURCE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.cache
def _imports(file: Path) -> list[str]:
    """The modules that a file imports."""
    return _imports_of(file.read_text())


def _imports_of(text: str) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return names


_distributions = functools.cache(packages_distributions)


def _distribution(module: str) -> str:
    return canonicalize_name(_distributions().get(module, [module])[0])
