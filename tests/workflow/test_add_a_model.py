"""The page docs/how-to/add-a-model.md, followed to the letter in a copy of the repository."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT, Repository, jobs

from how_to import follow, listed_commands, listed_files

PAGE = "add-a-model.md"
SETTINGS = {"ddp", "zero3", "tensor", "pipeline"}
PREDICTED = """
from trainyard.estimate.memory import predict_execution
from trainyard.plan.configuration import make_plan
from pathlib import Path
(study,) = make_plan({"studies": "mistral", "device": "cpu"}, Path("config")).studies.values()
for run in study.runs.values():
    print(run.specification["parallel"]["name"], predict_execution(run.specification).total)
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A copy of the repository with what the page adds."""
    made = Repository(tmp_path_factory.mktemp("model") / "trainyard")
    follow(PAGE, made.folder)
    shutil.copytree(ROOT / "tests", made.folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", made.folder)
    return made


def call(repository: Repository, command: str) -> subprocess.CompletedProcess[str]:
    """One of the page's commands, with the interpreter that runs the tests."""
    program, *arguments = command.split()
    own = [sys.executable] if program == ".venv/bin/python" else [sys.executable, "-m", Path(program).name]
    done = subprocess.run(
        [*own, *arguments],
        cwd=repository.folder,
        env=repository.environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-8000:]
    return done


def test_the_page_lists_each_file_that_it_adds() -> None:
    assert list(listed_files(PAGE)) == [
        "src/trainyard/models/mistral.py",
        "src/trainyard/estimate/families/mistral.py",
        "config/models.yaml",
        "config/studies/mistral.yaml",
    ]


@pytest.mark.slow
def test_a_model_of_a_new_family_is_planned_predicted_and_trained_as_one_process_trains_it(
    extended: Repository,
) -> None:
    tests, dry_run, run = listed_commands(PAGE)

    said = call(extended, tests).stdout
    assert said.startswith("......  "), said  # two counts, the bytes saved, with a window too, and two splits

    planned = jobs(call(extended, dry_run))
    assert all(any(f"_{name}-x2" in job or f"-{name}-x2" in job for job in planned) for name in SETTINGS)

    variables = extended.environment | {"PYTHONPATH": "src"}
    predicted = subprocess.run(
        [sys.executable, "-c", PREDICTED],
        cwd=extended.folder,
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = {name: int(total) for name, total in map(str.split, predicted.splitlines())}
    assert found.keys() >= SETTINGS
    assert min(found.values()) > 0

    call(extended, run)
    parities = [json.loads(path.read_text()) for path in extended.folder.glob("results/mistral/*/parity.json")]
    assert {(parity["parallel"], parity["outcome"], parity["within"]) for parity in parities} == {
        (name, "finished", True) for name in SETTINGS
    }
