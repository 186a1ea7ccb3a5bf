"""The repository after one whole run, for every test of this folder."""

import pytest
from repository import MICRO, Repository


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The repository after one whole run of the study `micro`."""
    made = Repository(tmp_path_factory.mktemp("repository") / "trainyard")
    made.write_study("micro", MICRO)
    made.snakemake("--config", "studies=micro")
    return made
