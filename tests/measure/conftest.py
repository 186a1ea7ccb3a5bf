from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import launched_from


@pytest.fixture(scope="module", autouse=True)
def _failing_can_be_launched() -> Iterator[None]:
    with launched_from(Path(__file__).parent):
        yield
