"""A server of the hub's protocol on the loopback, as much of it as our clients ask for, that can misbehave."""

import hashlib
import json
import re
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from threading import Event, Lock, Thread
from urllib.parse import unquote, unquote_plus, urlsplit

COMMIT = "a" * 40


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Repository:
    """Its files; those named in `large` are told by SHA-256, as the hub does, and others by git's hash."""

    files: dict[str, bytes]
    large: frozenset[str] = frozenset()
    commit: str = COMMIT

    def entry(self, path: str) -> dict[str, object]:
        data = self.files[path]
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        entry: dict[str, object] = {"type": "file", "path": path, "size": len(data), "oid": blob}
        if path in self.large:
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return entry

    def etag(self, path: str) -> str:
        entry = self.entry(path)
        return hashlib.sha256(self.files[path]).hexdigest() if "lfs" in entry else str(entry["oid"])

    def paths(self, wanted: list[str]) -> list[dict[str, object]]:
        folders = {name.rsplit("/", 1)[0] for name in self.files if "/" in name}
        found = [self.entry(path) for path in wanted if path in self.files]
        return found + [{"type": "directory", "path": path, "oid": "0" * 40} for path in wanted if path in folders]

    def tree(self, folder: str, recursive: bool) -> list[dict[str, object]]:
        inside = [name for name in self.files if not folder or name.startswith(f"{folder}/")]
        depth = folder.count("/") + 1 if folder else 0
        above = {str(parent) for name in inside for parent in PurePosixPath(name).parents[:-1]}
        folders = sorted(path for path in above if path.count("/") == depth or (recursive and path.count("/") > depth))
        files = [self.entry(name) for name in inside if recursive or name.count("/") == depth]
        return files + [{"type": "directory", "path": path, "oid": "0" * 40} for path in folders]


# what a fault does with the answer that would have been given
Fault = Callable[["Handler", Answer], None]


class Hub(ThreadingHTTPServer):
    """Serves repositories by kind and name, such as `datasets/org/set`.

    Attributes:
        asked: method, path and Range of every request.
        faults: for requests whose method and path match, what happens to the next ones of them.
        injected: how many answers were faulty.
        ending: set when the server stops, so that nobody waits for a stalled answer.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Repository] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        self.faults: list[tuple[str, deque[Fault]]] = []
        self.injected = 0
        self.ending = Event()
        self._lock = Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what is tested."""

    def times(self, pattern: str) -> int:
        """How often a matching request was made."""
        return sum(bool(re.search(pattern, f"{method} {path}")) for method, path, _ in self.asked)

    def ranges(self, pattern: str) -> list[str]:
        """The Range of matching requests that had one."""
        return [part for method, path, part in self.asked if part and re.search(pattern, f"{method} {path}")]

    def misbehave(self, pattern: str, *faults: Fault) -> None:
        """Have the next requests whose `METHOD path` matches meet these faults, one each."""
        self.faults.append((pattern, deque(faults)))

    def fault(self, request: str) -> Fault | None:
        """The fault that a request meets, if it does."""
        with self._lock:
            for pattern, faults in self.faults:
                if faults and re.search(pattern, request):
                    self.injected += 1
                    return faults.popleft()
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        assert isinstance(self.server, Hub)
        return self.server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def send(self, answer: Answer, body: bytes | None = None) -> None:
        """Send the answer's head, and its body or only a part of it."""
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), "X-Repo-Commit": COMMIT, **answer.headers}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body if body is None else body)
            self.wfile.flush()

    def _handle(self, body: bytes = b"") -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path, self.headers.get("Range")))
        answer = self._answer(path, body)
        fault = self.hub.fault(f"{self.command} {path}")
        if fault is None:
            self.send(answer)
        else:
            self.close_connection = True
            fault(self, answer)

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _answer(self, path: str, body: bytes) -> Answer:
        for name, repository in self.hub.repositories.items():
            if found := re.fullmatch(rf"/api/{re.escape(name)}(/.*)?", path):
                return self._about(repository, name, found[1] or "", body)
            place = name.removeprefix("models/")
            if (found := re.fullmatch(rf"/{re.escape(place)}/resolve/[^/]+/(.+)", path)) and found[
                1
            ] in repository.files:
                return self._file(repository, found[1])
        return Answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    def _about(self, repository: Repository, name: str, rest: str, body: bytes) -> Answer:
        if found := re.fullmatch(r"/tree/\w+/?(.*)", rest):
            value: object = repository.tree(found[1], "recursive=true" in self.path.lower())
        elif rest.startswith("/paths-info/"):
            fields = re.findall(r"paths=([^&]+)", body.decode())
            value = repository.paths([unquote_plus(field) for field in fields] or json.loads(body)["paths"])
        elif re.fullmatch(r"(/revision/[\w.]+)?", rest):
            siblings = [{"rfilename": file} for file in repository.files]
            value = {"id": name.partition("/")[2], "sha": repository.commit, "siblings": siblings, "tags": []}
        else:
            return Answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        return Answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _file(self, repository: Repository, path: str) -> Answer:
        data = repository.files[path]
        headers = {"ETag": f'"{repository.etag(path)}"', "X-Repo-Commit": repository.commit, "Accept-Ranges": "bytes"}
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            first, last = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            return Answer(206, data[first : last + 1], headers)
        return Answer(200, data, headers)


def status(code: int, **headers: str) -> Fault:
    """Another status, such as 500."""
    return lambda handler, _: handler.send(
        Answer(code, b"{}", {name.replace("_", "-"): value for name, value in headers.items()})
    )


def half(answer: Answer) -> bytes:
    return answer.body[: len(answer.body) // 2]


def stalls(handler: Handler, _: Answer) -> None:
    """Not a byte, for as long as the client waits."""
    handler.hub.ending.wait(60)


def stalls_halfway(handler: Handler, answer: Answer) -> None:
    """Half of the body, and then not a byte."""
    handler.send(answer, half(answer))
    handler.hub.ending.wait(60)


def slow(handler: Handler, answer: Answer) -> None:
    """Piece by piece, each within the limit of time, all together well above it."""
    handler.send(answer, b"")
    step = len(answer.body) // 8 + 1
    for first in range(0, len(answer.body), step):
        handler.hub.ending.wait(0.25)
        handler.wfile.write(answer.body[first : first + step])
        handler.wfile.flush()


def cut(handler: Handler, answer: Answer) -> None:
    """The connection ends in the middle of the body."""
    handler.send(answer, half(answer))


def reset(handler: Handler, answer: Answer) -> None:
    """The connection breaks in the middle of the body."""
    handler.send(answer, half(answer))
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def wrong(handler: Handler, answer: Answer) -> None:
    """As many bytes, one of them another."""
    middle = len(answer.body) // 2
    body = answer.body[:middle] + bytes([answer.body[middle] ^ 1]) + answer.body[middle + 1 :]
    handler.send(answer, body)


def shorter(handler: Handler, answer: Answer) -> None:
    """A body that ends early and says so."""
    handler.send(replace(answer, body=half(answer)))


def redirects(handler: Handler, _: Answer) -> None:
    """To itself."""
    handler.send(Answer(302, b"", {"Location": handler.path}))


def page(handler: Handler, _: Answer) -> None:
    """What a portal or proxy on the way answers."""
    handler.send(Answer(200, b"<html>Please log in</html>", {"Content-Type": "text/html", "X-Repo-Commit": ""}))


def empty(handler: Handler, _: Answer) -> None:
    """JSON of another shape."""
    handler.send(Answer(200, b"{}", {"Content-Type": "application/json"}))


@dataclass
class Halfway:
    """A fault that sends half of a body and holds the connection; `reached` says that it has."""

    reached: Event = field(default_factory=Event)

    def __call__(self, handler: Handler, answer: Answer) -> None:
        handler.send(answer, half(answer))
        self.reached.set()
        handler.hub.ending.wait(60)


@contextmanager
def served() -> Iterator[Hub]:
    """Run a hub while the context lasts."""
    with Hub() as hub:
        thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.ending.set()
            hub.shutdown()
            thread.join()
