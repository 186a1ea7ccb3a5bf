"""The page docs/how-to/add-a-figure.md, followed to the letter in a copy of the repository."""

import os
import shutil
import subprocess
import sys

import pytest
from repository import ROOT, Repository, jobs

from how_to import follow, listed_changes, listed_commands, listed_files
from trainyard.config.study import Study
from trainyard.plan.configuration import make_plan

from .reading import svg_text
from .sample_results import Results
from .sample_study import STUDY

pytestmark = pytest.mark.slow

PAGE = "add-a-figure.md"
FIGURE = "results/demo/report/gradient-norms.svg"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A copy of the repository with what the page adds."""
    made = Repository(tmp_path_factory.mktemp("figure") / "trainyard")
    follow(PAGE, made.folder)
    return made


def test_two_files_and_an_entry_make_a_figure() -> None:
    assert list(listed_files(PAGE)) == ["src/trainyard/report/pages/gradient_norms.py", "report/gradient_norms.rst"]
    assert list(listed_changes(PAGE)) == ["src/trainyard/plan/report.py"]


def test_the_dry_run_lists_it_once(repository: Repository) -> None:
    program, *arguments = listed_commands(PAGE)[0].split()
    assert program == ".venv/bin/snakemake"
    planned = jobs(repository.snakemake(*arguments))
    assert planned.count("Draw the report of demo: gradient_norms") == 1
    assert len(planned) == len(set(planned))


def test_its_rule_draws_it(repository: Repository) -> None:
    plan = make_plan({"studies": "demo", "device": "cpu"}, repository.folder / "config")
    results = Results(repository.folder, "demo", Study.model_validate(STUDY), {})
    for number, run in enumerate(plan.studies["demo"].trainings):
        results.add_run(run.name, seed=number)
    # by its rule alone, with the results of the runs as they are
    repository.snakemake("--config", "studies=demo", "--allowed-rules", "gradient_norms", "--", FIGURE)
    assert "norm of the gradient" in svg_text(repository.folder / FIGURE)


def test_the_tests_of_the_page_draw_it_from_every_kind_of_results_and_from_none(repository: Repository) -> None:
    shutil.copytree(ROOT / "tests", repository.folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", repository.folder)
    python, *arguments = listed_commands(PAGE)[-1].split()
    assert python == ".venv/bin/python"
    done = subprocess.run(
        [sys.executable, *arguments, "-k", "gradient"],
        cwd=repository.folder,
        env={**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "5 passed" in done.stdout
