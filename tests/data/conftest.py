"""A hub of one dataset on the loopback (as much of it as the datasets library asks for), and tokenized folders."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainyard.data.pairs import GROUP_ROWS, SCHEMA
from trainyard.data.shards import write_shards

COMMIT = "a" * 40


class Hub(ThreadingHTTPServer):
    """Serves `files` as the dataset `name`; the first `failures` questions for its commit get `status`."""

    def __init__(self, name: str, files: dict[str, bytes], failures: int = 0, status: int = 500) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name, self.files, self.failures, self.status = name, files, failures, status
        self.asked: Counter[str] = Counter()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    @property
    def hub(self) -> Hub:
        assert isinstance(self.server, Hub)
        return self.server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _tree(self, prefix: str) -> bytes:
        entries = []
        for path, data in self.hub.files.items():
            if path.startswith(prefix):
                entries.append({"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()})
        folders = {path.rsplit("/", 1)[0] for path in self.hub.files if "/" in path and path.startswith(prefix)}
        entries += [{"type": "directory", "path": folder, "size": 0, "oid": "0" * 40} for folder in folders - {prefix}]
        return json.dumps(entries).encode()

    def _paths_info(self, wanted: list[str]) -> bytes:
        found = []
        for path in wanted:
            data = self.hub.files.get(path)
            if data is not None:
                found.append({"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()})
            elif any(name.startswith(path + "/") for name in self.hub.files):
                found.append({"type": "directory", "path": path, "size": 0, "oid": "0" * 40})
        return json.dumps(found).encode()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "/paths-info/" not in self.path:
            self._send(404, b"{}")
            return
        wanted = json.loads(body)["paths"]
        self._send(200, self._paths_info([wanted] if isinstance(wanted, str) else wanted))

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.hub.asked[path] += 1
        if path.endswith("/revision/main") and self.hub.asked[path] <= self.hub.failures:
            self._send(self.hub.status, b"{}")
            return
        name = re.escape(self.hub.name)
        if re.fullmatch(rf"/api/datasets/{name}(/revision/[\w.]+)?", path):
            siblings = [{"rfilename": file} for file in self.hub.files]
            body = {"id": self.hub.name, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
            self._send(200, json.dumps(body).encode(), Content_Type="application/json")
        elif found := re.fullmatch(rf"/api/datasets/{name}/tree/\w+/?(.*)", path):
            self._send(200, self._tree(found[1].replace("%2F", "/")), Content_Type="application/json")
        elif (found := re.fullmatch(rf"/datasets/{name}/resolve/\w+/(.+)", path)) and found[1] in self.hub.files:
            data = self.hub.files[found[1]]
            self._send(200, data, ETag=f'"{hashlib.sha1(data).hexdigest()}"')
        else:
            self._send(404, b"{}", X_Error_Code="EntryNotFound")


@contextmanager
def _served(name: str, files: dict[str, bytes], failures: int = 0, status: int = 500) -> Iterator[Hub]:
    """Run a hub while the context lasts."""
    with Hub(name, files, failures, status) as hub:
        thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


Served = Callable[..., AbstractContextManager[Hub]]


@pytest.fixture
def served() -> Served:
    return _served


def _text_folder(folder: Path, tokens: int, shard_tokens: int = 1000) -> Path:
    """Tokens 0, 1, 2 ... in documents of 97."""
    folder.mkdir(parents=True)
    numbers = np.arange(tokens, dtype=np.uint16)
    shards = write_shards(folder, (numbers[first : first + 97] for first in range(0, tokens, 97)), shard_tokens)
    (folder / "index.json").write_text(json.dumps({"kind": "text", "shards": shards}))
    return folder


def _pairs_folder(folder: Path, pairs: list[tuple[list[int], list[int]]]) -> Path:
    """Pairs whose padding is 1 and whose end is 2."""
    folder.mkdir(parents=True)
    sources, targets = [list(side) for side in zip(*pairs, strict=True)]
    table = pa.table([[str(number) for number in range(len(pairs))], sources, targets], schema=SCHEMA)
    pq.write_table(table, folder / "pairs.parquet", row_group_size=GROUP_ROWS)
    sha256 = hashlib.sha256((folder / "pairs.parquet").read_bytes()).hexdigest()
    index: dict[str, Any] = {"kind": "pairs", "rows": len(pairs), "pad": 1, "end": 2}
    index["files"] = [{"file": "pairs.parquet", "sha256": sha256}]
    (folder / "index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture
def text_folder() -> Callable[..., Path]:
    return _text_folder


@pytest.fixture
def pairs_folder() -> Callable[..., Path]:
    return _pairs_folder
