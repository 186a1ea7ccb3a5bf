"""The repository after one whole run, for every test of this folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from repository import MICRO, Repository

NAME = "Übung macht den Meister"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of one whole run of the study `micro`, made once however many workers test.

    Its name has spaces and letters beyond ASCII.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    folder = shared / "finished"
    with FileLock(shared / "finished.lock"):
        if not folder.exists():
            made = Repository(tmp_path_factory.mktemp("run") / NAME)
            made.write_study("micro", MICRO)
            made.snakemake("--config", "studies=micro")
            made.folder.parent.rename(folder)
    return folder / NAME


@pytest.fixture(scope="session")
def copy_finished(finished: Path) -> Callable[[Path], Repository]:
    """Makes a folder a repository after that run: what another study shares with it, as its data, is there."""

    def copy(folder: Path) -> Repository:
        made = Repository(folder)
        shutil.copytree(finished, folder, symlinks=True, dirs_exist_ok=True)
        return made

    return copy


@pytest.fixture(scope="session")
def repository(copy_finished: Callable[[Path], Repository], tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The repository after that run, a copy for one worker to change."""
    return copy_finished(tmp_path_factory.mktemp("repository") / NAME)
