"""Called otherwise than in the repository's folder: the same plan and results, or a sentence that says what to do."""

import shutil
from pathlib import Path

import pytest
from repository import Repository, jobs

from trainyard.core.files import read_json

pytestmark = pytest.mark.slow

TINY = {
    "title": "Tiny",
    "question": "Does it run?",
    "grids": [
        {
            "datasets": ["tinyworld"],
            "models": ["gpt2-tiny"],
            "train": {"steps": 2, "batch": 4, "sequence_length": 32, "learning_rate": 1e-3},
        }
    ],
}
IMPORTING = """
module trainyard:
    snakefile: "{snakefile}"
    config: {config}
    prefix: "lm"

use rule * from trainyard as trainyard_*

rule everything:
    default_target: True
    input: rules.trainyard_all.input
"""
CHOSEN = ("--config", "studies=tiny")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The repository, with a study that was never run."""
    made = Repository(tmp_path_factory.mktemp("calls") / "trainyard")
    made.write_study("tiny", TINY)
    return made


def import_it(made: Repository, folder: Path, config: str) -> None:
    """Make `folder` one of a workflow that imports the repository's as a module."""
    shutil.copytree(made.folder / "config", folder / "config")
    text = IMPORTING.format(snakefile=made.folder / "Snakefile", config=config)
    (folder / "Snakefile").write_text(f'configfile: "config/config.yaml"\n{text}')


def test_imported_with_a_prefix_it_runs_to_its_report(made: Repository, tmp_path: Path) -> None:
    import_it(made, tmp_path, "config")
    early = made.snakemake("--report", "report.html", *CHOSEN, where=tmp_path, check=False)
    assert early.returncode != 0
    assert "lm/results/tiny/report/" in early.stderr
    assert "before --report run the study: snakemake --cores all --config studies=tiny" in early.stderr
    made.snakemake(*CHOSEN, where=tmp_path)
    results = tmp_path / "lm" / "results" / "tiny"
    (summary,) = results.glob("*/summary.json")
    assert read_json(summary)["outcome"] == "finished"
    assert "tinyworld" in (results / "report" / "overview.html").read_text(encoding="utf-8")
    assert not (tmp_path / "results").exists()
    made.snakemake("--report", "report.html", *CHOSEN, where=tmp_path)
    assert (tmp_path / "report.html").stat().st_size > 0


def test_what_an_importing_workflow_does_not_configure_is_named(made: Repository, tmp_path: Path) -> None:
    import_it(made, tmp_path, "{}")
    done = made.snakemake("-n", where=tmp_path, check=False)
    assert done.returncode != 0
    assert "the module's config: studies: this key is missing" in done.stdout


def test_the_plan_is_the_same_however_it_is_called(made: Repository, tmp_path: Path) -> None:
    expected = sorted(made.would_run("tiny"))
    assert expected
    own = tmp_path / "own"
    shutil.copytree(made.folder / "config", own / "config")
    configuration = tmp_path / "mine.yaml"
    configuration.write_text("studies: [tiny]\n")
    snakefile, folder = str(made.folder / "Snakefile"), str(made.folder)
    calls = (
        (tmp_path, ("-s", snakefile, "-d", folder, *CHOSEN)),
        (tmp_path, ("-s", snakefile, "--directory", str(own), *CHOSEN)),
        (own, ("-s", snakefile, *CHOSEN)),
        (made.folder, ("-s", "workflow/Snakefile", *CHOSEN)),
        (made.folder, ("--configfile", str(configuration))),
    )
    for where, arguments in calls:
        assert sorted(jobs(made.snakemake("-n", *arguments, where=where))) == expected, arguments


def test_a_folder_without_configuration_is_refused_with_what_to_do(made: Repository, tmp_path: Path) -> None:
    done = made.snakemake("-n", "-s", str(made.folder / "Snakefile"), where=tmp_path, check=False)
    assert done.returncode != 0
    assert (
        f"{tmp_path} has no config/datasets.yaml: call it with --directory {made.folder}, "
        f"or copy {made.folder}/config to here"
    ) in done.stdout


def test_a_report_before_the_run_is_refused_with_what_to_do(made: Repository) -> None:
    done = made.snakemake("--report", "report.html", *CHOSEN, check=False)
    assert done.returncode != 0
    assert "before --report run the study: snakemake --cores all --config studies=tiny" in done.stderr
    assert not (made.folder / "report.html").exists()
