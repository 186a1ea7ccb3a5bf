"""A cluster for all tests of this folder, and a repository whose Snakemake submits to it."""

import os
from collections.abc import Iterator

import pytest
from cluster import Cluster
from filelock import FileLock
from submitting import Submitting

from trainyard.core.errors import InputError


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster; one session of tests has it at a time."""
    made = Cluster()
    if os.getuid() == 0:
        lock = FileLock("/run/trainyard-slurm.lock")
        lock.acquire(timeout=900)
    try:
        made.start()
    except InputError as error:
        pytest.skip(str(error))
    except AssertionError as error:
        said = made.log()
        made.stop()
        raise AssertionError(f"{error}\n{said}") from error
    yield made
    made.stop()


@pytest.fixture(scope="session")
def repository(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Submitting:
    """A repository whose Snakemake runs through profiles/slurm."""
    return Submitting(tmp_path_factory.mktemp("slurm") / "trainyard", cluster)
