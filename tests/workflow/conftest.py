"""The repository after one whole run, for every test of this folder."""

import pytest
from repository import MICRO, Repository


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The repository after one whole run of the study `micro`, in a folder with spaces and letters beyond ASCII."""
    made = Repository(tmp_path_factory.mktemp("repository") / "Übung macht den Meister")
    made.write_study("micro", MICRO)
    made.snakemake("--config", "studies=micro")
    return made
