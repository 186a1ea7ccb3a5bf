import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forked import Ranks
from processes import launched_from
from trainyard.launch import launch


@pytest.fixture(scope="module", autouse=True)
def _drivers_can_be_launched(ranks: Ranks) -> Iterator[None]:
    with launched_from(Path(__file__).parent, Path(__file__).parents[1]), ranks.forking():
        yield


@pytest.fixture(scope="session")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Run driver.py, or another beside it, in so many processes of one thread, and give what it wrote."""

    def run(processes: int, driver: str = "driver", **arguments: Any) -> Any:
        folder = tmp_path_factory.mktemp("drive")
        written = folder / "arguments.json"
        arguments |= {"output": str(folder / "output.json"), "folder": str(folder / "state")}
        (folder / "state").mkdir()
        written.write_text(json.dumps(arguments))
        assert launch.launch(driver, [str(written)], processes, 1, folder / "log") is None
        return json.loads((folder / "output.json").read_text())

    return run
