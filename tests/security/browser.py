"""A real browser without a window, told what to do over its debugging pipe."""

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 120  # for an answer, on a machine that does something else at the same time
SWITCHES = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
]
LOOK = """new Promise((done) => setTimeout(() => done({
  ran: window.RAN ?? null,
  title: document.title,
  text: document.body.innerText,
  scripts: document.scripts.length,
  handlers: [...document.querySelectorAll("*")].flatMap((e) => e.getAttributeNames()).filter((n) => n.startsWith("on")),
  links: [...document.querySelectorAll("a[href], area[href], form[action], base[href]")].map((e) => e.href || e.action),
  sources: [...document.querySelectorAll("[src], link[href], object[data]")].map((e) => e.src || e.href || e.data),
}), 100))"""
SORT = 'document.querySelectorAll("th button").forEach((button) => button.click())'
EXPLORE = """(async () => {
  for (let click = 0; click < 60; click++) {
    const rest = [...document.querySelectorAll("a, button")].filter((each) => !each.dataset.clicked);
    const next = click % 2 ? rest.pop() : rest.shift();
    if (!next) break;
    next.dataset.clicked = "yes";
    next.click();
    await new Promise((done) => setTimeout(done, 20));
  }
})()"""


@dataclass
class Page:
    """What was seen of a page: what LOOK returns, what it asked for, and dialogs that it opened."""

    seen: dict[str, Any]
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


class Browser:
    """Speaks with a browser: messages are JSON, each with a zero byte after it."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._number, self._buffer = 0, b""
        self.events: list[dict[str, Any]] = []

    def _message(self) -> dict[str, Any]:
        until = time.monotonic() + SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser doesn't answer"
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Give an order and wait for its answer; events meanwhile are kept."""
        self._number += 1
        order = {"id": self._number, "method": method, "params": parameters}
        os.write(self._write, json.dumps(order | ({"sessionId": session} if session else {})).encode() + b"\0")
        while (message := self._message()).get("id") != self._number:
            self.events.append(message)
            if message.get("method") == "Page.javascriptDialogOpening":
                self.ask("Page.handleJavaScriptDialog", session, accept=True)
        assert "error" not in message, message
        return message["result"]

    def _happened(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event.get("method") == method]

    def open(self, address: str, script: str = SORT) -> Page:
        """Open a page, wait until all of it is there, run a script of ours that clicks about, and look."""
        self.events = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.ask(f"{domain}.enable", session)
        self.ask("Page.navigate", session, url=address)
        until = time.monotonic() + SECONDS
        while not self._happened("Page.loadEventFired"):
            assert time.monotonic() < until, f"{address} never loaded"
            self.events.append(self._message())
        self.evaluate(session, script)
        seen = self.evaluate(session, LOOK)
        asked = [found["request"]["url"] for found in self._happened("Network.requestWillBeSent")]
        dialogs = [found["message"] for found in self._happened("Page.javascriptDialogOpening")]
        self.ask("Target.closeTarget", targetId=target)
        return Page(seen, asked, dialogs)

    def evaluate(self, session: str, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.ask("Runtime.evaluate", session, expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own below `folder`, ended afterwards."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    command = ["chromium", *SWITCHES, f"--user-data-dir={folder / 'profile'}"]
    script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'  # the pipe is always 3 and 4
    with (folder / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", *command],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {"HOME": str(folder)},
        )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_out, ours_in)
    finally:
        os.close(ours_out)
        os.close(ours_in)
        process.terminate()
        try:
            process.wait(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
