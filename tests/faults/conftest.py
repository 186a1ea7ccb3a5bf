"""Data of the smallest runs that a fault can strike."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trainings import Job, make_specification, write_small_text

from forked import Ranks
from trainyard.core.files import sha256_json


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens to train on and a tokenizer."""
    return write_small_text(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def specification(data: Path) -> Callable[..., dict[str, Any]]:
    """Makes the specification of a run under a parallel setting, with dropout, many checkpoints and exports."""

    def make(parallel: str = "single", **train: Any) -> dict[str, Any]:
        kept = list(range(7, train.get("steps", 60), 7))
        often = {"steps": 60, "validate_every": 5, "checkpoint_every": 5, "keep_steps": kept}
        return make_specification(data, parallel=parallel, **often | train)

    return make


@pytest.fixture(scope="session")
def undisturbed(
    specification: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory, ranks: Ranks
) -> Callable[..., Job]:
    """Makes, once for each specification, the run that the disturbed ones are compared with."""
    made: dict[str, Job] = {}

    def run(parallel: str = "single", **train: Any) -> Job:
        asked = specification(parallel, **train)
        key = sha256_json(asked)
        if key not in made:
            made[key] = Job(tmp_path_factory.mktemp("undisturbed"), asked)
            with ranks.forking():
                made[key].run()
        return made[key]

    return run


@pytest.fixture
def forked_ranks(ranks: Ranks) -> Iterator[None]:
    """What is run to its end here forks its ranks; what is to be struck is started in processes of its own."""
    with ranks.forking():
        yield


@pytest.fixture
def new_job(tmp_path: Path) -> Callable[[dict[str, Any]], Job]:
    """Makes a training in the test's folder."""
    return lambda specification: Job(tmp_path / "job", specification)
