from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import launched_from


@pytest.fixture(scope="session", autouse=True)
def _workers_can_be_launched() -> Iterator[None]:
    with launched_from(Path(__file__).parent):
        yield
