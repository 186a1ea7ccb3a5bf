"""The page docs/how-to/add-a-figure.md, followed to the letter in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from repository import ROOT, Repository, jobs

from trainyard.config.study import Study
from trainyard.plan.study import make_plan

from .reading import svg_text
from .sample_results import Results
from .sample_study import STUDY

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "how-to" / "add-a-figure.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`((?:src|report)/[^`]+)`[^`]*:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
FIGURE = "results/demo/report/gradient-norms.svg"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A copy of the repository with what the page adds."""
    made = Repository(tmp_path_factory.mktemp("figure") / "trainyard")
    for name, text in FILES.items():
        path = made.folder / name
        if path.exists():
            entry = text.removeprefix("FIGURES = [\n    ...,\n").removesuffix("]\n")
            path.write_text(path.read_text().replace("\n]\n", f"\n{entry}]\n", 1))
        else:
            path.write_text(text)
    return made


def test_three_files_make_a_figure(repository: Repository) -> None:
    changed = [name for name in FILES if (ROOT / name).exists()]
    assert len(FILES) == 3
    assert changed == ["src/trainyard/plan/report.py"]
    assert repository.folder.joinpath(changed[0]).read_text() != (ROOT / changed[0]).read_text()


def test_the_dry_run_lists_it_once(repository: Repository) -> None:
    assert COMMANDS[0] == "snakemake -n --config studies=demo"
    planned = jobs(repository.snakemake(*COMMANDS[0].split()[1:]))
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
    python, *arguments = COMMANDS[-1].split()
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
