"""The page docs/how-to/add-a-metric.md, followed to the letter in a copy of the repository."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from repository import Repository, jobs

from how_to import follow, listed_changes, listed_commands, listed_files

pytestmark = pytest.mark.slow

PAGE = "add-a-metric.md"
OTHERS = [
    "trainyard.train.worker",
    *(f"trainyard.evaluate.{metric}" for metric in ("run", "perplexity", "hellaswag", "rouge", "samples")),
    *(f"trainyard.evaluate.modules.{metric}.{metric}" for metric in ("perplexity", "hellaswag", "rouge")),
]


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A copy of the repository with what the page adds."""
    made = Repository(tmp_path_factory.mktemp("metric") / "trainyard")
    follow(PAGE, made.folder)
    return made


def python(repository: Repository, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=repository.folder,
        env=repository.environment | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout


def test_the_page_lists_each_file_that_it_adds_or_changes() -> None:
    assert [*listed_files(PAGE), *listed_changes(PAGE)] == [
        "src/trainyard/metrics/last_word.py",
        "src/trainyard/evaluate/last_word.py",
        "config/studies/last-word.yaml",
        "src/trainyard/metrics/__init__.py",
        "src/trainyard/config/study.py",
    ]


def test_editors_and_the_reference_know_its_settings(extended: Repository) -> None:
    assert listed_commands(PAGE)[0] == "make schema"
    (extended.folder / "docs/reference").mkdir(parents=True)
    python(extended, "-m", "trainyard.tools.json_schema", "config/schema")
    python(extended, "-m", "trainyard.tools.config_reference", "docs/reference/configuration.md")
    schema = json.loads((extended.folder / "config/schema/study.schema.json").read_text())
    assert "last_word" in schema["$defs"]["Evaluate"]["properties"]
    assert "### LastWord" in (extended.folder / "docs/reference/configuration.md").read_text()


def test_no_other_metric_is_computed_again(extended: Repository) -> None:
    code = f"from trainyard.plan.code_hash import code_hash; print(*map(code_hash, {OTHERS}))"
    original = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env=extended.environment | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert python(extended, "-c", code) == original


def test_a_study_ranks_models_by_it(extended: Repository) -> None:
    _, run, show = (command.split() for command in listed_commands(PAGE))
    assert run[0] == ".venv/bin/snakemake"
    planned = jobs(extended.snakemake("-n", *run[3:]))
    assert sum("last_word" in job for job in planned) == 2

    # the table alone: what the sentences make of a metric is tested beside them
    extended.snakemake(*run[3:], "--", "results/last-word/report/comparison.html")
    results = [json.loads(path.read_text()) for path in extended.folder.glob("results/last-word/*/evaluate/*.json")]
    assert [result["n"] for result in results] == [200, 200]
    table = python(extended, *show[1:])
    assert "last word %" in table
    assert table.count("gpt2-modern-") == 2
