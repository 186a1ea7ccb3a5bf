import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .conftest import COMMIT, Served

# a process of its own: the hub's client reads its address when it is imported
SCRIPT = """
import json, sys
from trainyard.config.catalogue import HubSource
from trainyard.data.hub import hub_rows, open_hub
from trainyard.errors import InputError
source = HubSource(hub="org/set", revision="main")
try:
    data, commit = open_hub(source, sys.argv[1], wait=0.02)
    print(json.dumps([commit, [row.values["text"] for row in hub_rows(source, data, ["text"], ["id"])]]))
except InputError as error:
    print(json.dumps(str(error)))
"""


def ask(address: str, home: Path, split: str = "train[90%:]", **environment: str) -> object:
    variables = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(home), "PYTHONPATH": "src"} | environment
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, split],
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": [f"row {number}" for number in range(100)], "x": list(range(100))}), buffer)
    return {"data/train-00000-of-00001.parquet": buffer.getvalue()}


def test_a_busy_hub_is_asked_again_and_the_commit_is_recorded(
    tmp_path: Path, served: Served, files: dict[str, bytes]
) -> None:
    with served("org/set", files, failures=2, status=503) as hub:
        answer = ask(hub.address, tmp_path)
        assert answer == [COMMIT, [f"row {number}" for number in range(90, 100)]]
        assert hub.asked["/api/datasets/org/set/revision/main"] == 3


@pytest.mark.slow
def test_a_hub_that_stays_broken_ends_with_a_message(tmp_path: Path, served: Served, files: dict[str, bytes]) -> None:
    with served("org/set", files, failures=99, status=500) as hub:
        answer = str(ask(hub.address, tmp_path))
        assert hub.asked["/api/datasets/org/set/revision/main"] == 5
    assert "org/set (revision main, split train[90%:]): the hub can't be reached (5 attempts" in answer
    assert "set `mirror`" in answer


@pytest.mark.slow
def test_no_hub_at_all_ends_with_a_message(tmp_path: Path) -> None:
    assert "the hub can't be reached (5 attempts" in str(ask("http://127.0.0.1:9", tmp_path))


@pytest.mark.slow
def test_what_will_not_pass_is_not_asked_again(tmp_path: Path, served: Served, files: dict[str, bytes]) -> None:
    with served("org/other", files) as hub:
        assert str(ask(hub.address, tmp_path)).startswith("org/set (revision main")
        assert hub.asked["/api/datasets/org/set/revision/main"] == 1
    with served("org/set", files) as hub:
        assert 'Unknown split "nosuch"' in str(ask(hub.address, tmp_path, split="nosuch"))
