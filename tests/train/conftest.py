"""Small data and trainings of it."""

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from trainings import Job, make_specification, write_pairs_data, write_small_text, write_tokenizer

from forked import Ranks


@pytest.fixture(scope="module", autouse=True)
def _ranks_are_forked(ranks: Ranks) -> Iterator[None]:
    with ranks.forking():
        yield


@pytest.fixture
def started_ranks(ranks: Ranks) -> Iterator[None]:
    """The launcher starts its ranks, as outside of tests."""
    with ranks.starting():
        yield


@pytest.fixture(scope="session")
def text_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="session")
def pairs_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs_data(folder / "train", 100, 1)
    write_pairs_data(folder / "validation", 21, 2)
    write_tokenizer(folder / "tokenizer")
    return folder


@pytest.fixture
def specification(text_data: Path) -> Callable[..., dict[str, Any]]:
    """Makes the specification of a run on text."""
    return lambda **train: make_specification(text_data, **train)


@pytest.fixture
def new_job(tmp_path: Path) -> Callable[[str, dict[str, Any]], Job]:
    """Makes a training in a folder of its own."""
    return lambda name, specification: Job(tmp_path / name, specification)


@pytest.fixture
def pairs_specification(pairs_data: Path) -> Callable[..., dict[str, Any]]:
    """Makes the specification of a run on pairs."""
    return lambda **train: make_specification(pairs_data, "bart", **train)


@pytest.fixture(scope="session")
def baseline(text_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A run with dropout that nobody disturbed: what the interrupted ones are compared with."""
    specification = make_specification(text_data, steps=60, validate_every=5, checkpoint_every=5, keep_steps=[7])
    job = Job(tmp_path_factory.mktemp("baseline"), specification)
    job.run()
    return job


@pytest.fixture
def memory_limit() -> Callable[[int], AbstractContextManager[None]]:
    """Limits the address space of processes started meanwhile, in bytes above what this process has."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    return limited
