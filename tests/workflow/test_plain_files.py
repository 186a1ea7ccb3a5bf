"""A dataset of plain files: what becomes of its rows when a file changes."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from repository import Repository

from trainyard.core.files import read_json

pytestmark = pytest.mark.slow

ASKED = ("--config", "studies=demo", "--", "results/data/mine/rows/train.json")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """One whose catalogue has a dataset of one file, whose rows were read."""
    made = Repository(tmp_path / "trainyard")
    (made.folder / "mine.txt").write_text("one\ntwo\n")
    mine = {
        "title": "Mine",
        "kind": "text",
        "source": {"files": {"train": "mine.txt", "test": "other.txt"}},
        "splits": {"train": "train[:50%]+train[50%:]", "test": "test"},
        "licence": "mine",
    }
    catalogue = made.folder / "config" / "datasets.yaml"
    catalogue.write_text(catalogue.read_text() + yaml.safe_dump({"mine": mine}))
    made.snakemake(*ASKED)
    return made


def would_run(repository: Repository) -> bool:
    return "Download mine, split train" in repository.snakemake("-n", *ASKED).stdout


def test_a_changed_file_is_read_again_and_must_be_accepted(repository: Repository) -> None:
    assert not would_run(repository)
    (repository.folder / "mine.txt").write_text("one\nand two\n")
    assert would_run(repository)
    refused = repository.snakemake(*ASKED, check=False)
    assert refused.returncode != 0
    assert "make accept-data DATA=mine ORIGIN=files" in refused.stderr + refused.stdout
    subprocess.run(
        [sys.executable, "-m", "trainyard.fetch.accept", "mine", "files"],
        cwd=repository.folder,
        env=repository.environment | {"PYTHONPATH": "src"},
        check=True,
        capture_output=True,
    )
    repository.snakemake(*ASKED)
    assert not would_run(repository)
    record = read_json(repository.folder / "results/data/provenance/download/mine/train.json")
    assert set(record["inputs"]) == {"mine.txt"}


def test_a_file_of_another_split_concerns_no_rows_but_its_own(repository: Repository) -> None:
    (repository.folder / "other.txt").write_text("new\n")
    assert not would_run(repository)
