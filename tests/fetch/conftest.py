import io
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .server import Hub, Repository, served

ROOT = Path(__file__).parents[2]
SECONDS = 120


class Client:
    """The process of client.py."""

    def __init__(self, address: str, folder: Path, **environment: str) -> None:
        self.home = folder / "home"
        settings = {
            "HF_ENDPOINT": address,
            "HF_HOME": str(self.home),
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "HF_HUB_ETAG_TIMEOUT": "1",
            "PYTHONPATH": "src",
            **environment,
        }
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "stderr").open("a") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", str(Path(__file__).parent / "client.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=os.environ | settings,
            )
        self._errors = folder / "stderr"

    def tell(self, **order: Any) -> None:
        """Give it an order."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What came of the order."""
        assert self.process.stdout is not None
        there, _, _ = select.select([self.process.stdout], [], [], SECONDS)
        line = self.process.stdout.readline() if there else ""
        assert line, self._errors.read_text()[-5000:]
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(SECONDS)
        finally:
            self.process.kill()
            self.process.stdout.close()


class Source:
    """A repository on the server, and what asks for it."""

    def __init__(self, hub: Hub, client: Client, name: str, folder: Path) -> None:
        self.hub, self.client, self.name, self.folder = hub, client, name, folder
        self.lock = folder / "data.lock.yaml"

    def serve(self, repository: Repository, kind: str = "datasets") -> Repository:
        self.hub.repositories[f"{kind}/org/{self.name}"] = repository
        return repository

    def order(self, revision: str = "main", split: str = "train", **changed: Any) -> dict[str, Any]:
        entry = {
            "title": "Some data",
            "kind": "text",
            "source": {"hub": f"org/{self.name}", "revision": revision},
            "splits": {"validation": "train[90%:]"} if split == "validation" else {"train": "train", "test": "test"},
            "licence": "CC0",
        }
        output = str(self.folder / f"rows/{split}.parquet")
        order = {"act": "dataset", "name": self.name, "entry": entry, "split": split}
        return {**order, "output": output, "lock": str(self.lock), **changed}

    def ask(self, **changed: Any) -> dict[str, Any]:
        self.client.tell(**self.order(**changed))
        return self.client.answer()


def parquet(texts: list[str]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), buffer, compression="none", use_dictionary=False)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def hub() -> Iterator[Hub]:
    with served() as server:
        yield server


@pytest.fixture(scope="session")
def client(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(hub.address, tmp_path_factory.mktemp("client"))
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def new_client(hub: Hub, tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """More clients, which share a cache of their own, and whose patience is as ever: no request is made twice."""
    clients: list[Client] = []
    patience = {"HF_HUB_DOWNLOAD_TIMEOUT": "10", "HF_HUB_ETAG_TIMEOUT": "10"}

    def make(**environment: str) -> Client:
        clients.append(Client(hub.address, tmp_path / "client", **patience, **environment))
        return clients[-1]

    yield make
    for client in clients:
        client.process.kill()
        client.close()


_numbers = count()


@pytest.fixture
def source(hub: Hub, client: Client, tmp_path: Path) -> Source:
    """A dataset of its own: one cache serves all tests."""
    source = Source(hub, client, f"set-{next(_numbers)}", tmp_path)
    files = {
        "data/train-00000-of-00002.parquet": parquet(ROWS[:60]),
        "data/train-00001-of-00002.parquet": parquet(ROWS[60:]),
        "data/test-00000-of-00001.parquet": parquet(["one", "two"]),
    }
    source.serve(Repository(files, large=frozenset(name for name in files if "00000" in name)))
    hub.faults.clear()
    hub.asked.clear()
    hub.injected = 0
    return source


ROWS = [f"row {number} " + "x" * 3000 for number in range(100)]
