"""Runs cases in processes of their own, and ends them whatever happens."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainyard.core.files import write_json
from trainyard.core.repository import SOURCE
from trainyard.launch.environment import child_environment
from trainyard.launch.failures import oom_kill_count
from trainyard.launch.worker import ERROR_FILE, first_error, reserve_error_file

# Imports from a slow disk; and then the first case, which may build a C++ extension.
START_SECONDS = 180.0
CASE_SECONDS = 120.0
# What the other processes have to leave word after one has failed.
_GRACE_SECONDS = 3.0
_POLL_SECONDS = 0.05
_ERRORS = "error.json"


@dataclass(frozen=True)
class Ending:
    """How the processes ended.

    Attributes:
        kind: `stopped` for want of time or by the user, which says nothing of any case.
        begun: the case that was under way; None before the first.
        reason: what the case that was under way, or the start, came to.
    """

    kind: Literal["finished", "out-of-memory", "failed", "stalled", "stopped"]
    begun: str | None
    reason: str | None


def run(
    cases: Sequence[dict[str, Any]],
    processes: int,
    threads: int,
    log: Path,
    deadline: float,
    stop: threading.Event,
    tell: Callable[[dict[str, Any]], None],
) -> Ending:
    """Run cases one after the other in the same processes, until all are done or one is not.

    Args:
        cases: what `trainyard.tools.gpu_check.worker` takes.
        processes: on this machine, a GPU each.
        threads: of each process.
        log: is appended to.
        deadline: on the monotonic clock; then the processes are ended.
        stop: when it is set, they are too.
        tell: is given the row of each finished case, at once.
    """
    with tempfile.TemporaryDirectory(prefix="gpu-check-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        write_json(folder / "cases.json", list(cases))
        reserve_error_file(folder / _ERRORS)
        log.parent.mkdir(parents=True, exist_ok=True)
        kills = oom_kill_count()
        started = []
        try:
            with log.open("ab") as output:
                for variables in _variables(processes, threads, folder):
                    started.append(_start(folder, variables, output.fileno()))
            return _watch(started, folder, deadline, stop, tell, kills)
        finally:
            for process in started:
                # Even when it has ended: what it started is in its group.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def environment(threads: int, more: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of the processes: as a job's, with the user's own packages, and nothing that asks a network."""
    path, user_site = (os.environ.get(name, "") for name in ("PYTHONPATH", "PYTHONNOUSERSITE"))
    result = child_environment(SOURCE, threads, {"HF_HUB_OFFLINE": "1", **(more or {})})
    return result | {
        "PYTHONPATH": os.pathsep.join(part for part in (str(SOURCE), path) if part),
        "PYTHONNOUSERSITE": user_site,
    }


def _variables(processes: int, threads: int, folder: Path) -> list[dict[str, str]]:
    """The environment of each process, with what torchrun tells it."""
    shared = {ERROR_FILE: str(folder / _ERRORS)}
    if processes > 1:
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(processes)}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {} for rank in range(processes)]
    return [environment(threads, shared | rank) for rank in ranks]


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def _start(folder: Path, variables: dict[str, str], output: int) -> subprocess.Popen[bytes]:
    """One rank in a process group of its own; it ends when this process does."""
    module = ["trainyard.launch.worker", "trainyard.tools.gpu_check.worker"]
    return subprocess.Popen(
        [sys.executable, "-m", *module, str(folder / "cases.json"), str(folder / "rows.jsonl")],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _watch(
    processes: Sequence[subprocess.Popen[bytes]],
    folder: Path,
    deadline: float,
    stop: threading.Event,
    tell: Callable[[dict[str, Any]], None],
    kills: int,
) -> Ending:
    """Wait for the processes, and hand on what the first writes."""
    begun, read, limit, since, failed = None, 0, START_SECONDS, time.monotonic(), None
    while True:
        statuses = [process.poll() for process in processes]  # before reading, so that nothing stays unread
        rows = _lines(folder / "rows.jsonl")
        for row in rows[read:]:
            if "begins" in row:
                begun = row["begins"]
            else:
                begun, limit = None, CASE_SECONDS
                tell(row)
        now = time.monotonic()
        since, read = (now if len(rows) > read else since), len(rows)
        if all(status == 0 for status in statuses):
            return Ending("finished", None, None)
        if failed is None and any(status not in (None, 0) for status in statuses):
            failed = now
        if failed and (None not in statuses or now - failed > _GRACE_SECONDS):
            return _describe_failure(statuses, folder / _ERRORS, begun, kills)
        if stop.is_set() or now > deadline:
            return Ending("stopped", None, None)
        if now - since > limit:
            return Ending("stalled", begun, f"said nothing for {limit:.0f} s and was ended")
        time.sleep(_POLL_SECONDS)


def _describe_failure(statuses: Sequence[int | None], errors: Path, begun: str | None, kills: int) -> Ending:
    if word := first_error(errors):
        kind = "out-of-memory" if word["kind"] == "out-of-memory" else "failed"
        return Ending(kind, begun, _first_line(word["message"]))
    if oom_kill_count() > kills:
        return Ending("out-of-memory", begun, "the kernel ended a process for lack of memory (SIGKILL)")
    status = next(status for status in statuses if status)
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
    return Ending("failed", begun, f"a process {how}")


def _first_line(message: str) -> str:
    return next((line.strip() for line in message.splitlines() if line.strip()), "no message")[:400]


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file that is being written."""
    if not path.exists():
        return []
    *whole, _ = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in whole]
