"""The repository after one whole run, for every test of this folder."""

import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from repository import MICRO, Repository


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of one whole run of the study `micro`, made once however many workers test."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    folder = shared / "finished"
    with FileLock(shared / "finished.lock"):
        if not folder.exists():
            made = Repository(tmp_path_factory.mktemp("run") / "trainyard")
            made.write_study("micro", MICRO)
            made.snakemake("--config", "studies=micro")
            made.folder.rename(folder)
    return folder


@pytest.fixture(scope="session")
def repository(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The repository after that run, in a folder with spaces and letters beyond ASCII, for one worker to change."""
    made = Repository(tmp_path_factory.mktemp("repository") / "Übung macht den Meister")
    shutil.copytree(finished, made.folder, symlinks=True, dirs_exist_ok=True)
    return made
