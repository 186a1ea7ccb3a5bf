"""Ranks forked from processes that have imported what each rank imports, which takes longer than a test's own steps.

For tests of what ranks compute. The launcher's own part is taken by torchrun in tests/launch, tests/faults,
tests/slurm and tests/workflow. Each rank's process has a parent of its own, so that no two
ranks share what is random in an interpreter, as the order of a set.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from trainyard.core.repository import SOURCE
from trainyard.core.timeouts import GRACE_SECONDS
from trainyard.launch import launch

PARENT = Path(__file__).with_name("rank_parent.py")


class Parent:
    """A process that forks one rank at a time."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
        command = [sys.executable, str(PARENT)]
        # without buffers: what has been read of a second line would not be waited for
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._asked, self._told = self._process.stdin, self._process.stdout

    def start(self, **asked: Any) -> int:
        """Fork a rank; its number."""
        self._asked.write(json.dumps(asked).encode() + b"\n")
        return int(self._told.readline())

    def wait(self, seconds: float) -> int | None:
        """The status of the rank, as of a command; None if it lives on."""
        told, _, _ = select.select([self._told], [], [], max(seconds, 0))
        return int(self._told.readline()) if told else None

    def close(self) -> None:
        with self._process:
            self._asked.close()


class Ranks:
    """Runs the commands of launches."""

    def __init__(self) -> None:
        self._parents: list[Parent] = []
        self._started = launch._run

    @contextmanager
    def forking(self) -> Iterator[None]:
        """Let launches fork their ranks, where these need nothing that must be there from a process's start."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(launch, "_run", self._run)
            yield

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Let launches start their ranks meanwhile, as outside of tests."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(launch, "_run", self._started)
            yield

    def close(self) -> None:
        for parent in self._parents:
            parent.close()

    def _run(self, arguments: list[str], environment: Mapping[str, str], output: int, elsewhere: bool) -> int:
        """As `launch._run`."""
        # not before a test forks: all tests import this file
        from torch.distributed import TCPStore  # noqa: PLC0415  # pyright: ignore[reportPrivateImportUsage]

        python, *words = arguments
        one = ["-m", "trainyard.launch.worker"]
        if elsewhere or python != sys.executable or environment["OMP_NUM_THREADS"] != "1":
            return self._started(arguments, environment, output, elsewhere)
        count = next((int(word.partition("=")[2]) for word in words if word.startswith("--nproc-per-node=")), 1)
        last = len(words) - words[::-1].index(one[1])
        asked = {
            "arguments": words[last:],
            "log": str(Path(f"/proc/self/fd/{output}").readlink()),
            "folder": str(Path.cwd()),
        }
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        while len(self._parents) < count:
            self._parents.append(Parent())
        started = {}
        try:
            for rank, parent in enumerate(self._parents[:count]):
                place = place_of(rank, count, store.port) if count > 1 else {}
                started[parent] = parent.start(environment={**environment, **place}, **asked)
            return first_failure(started)
        finally:
            end(started)


def place_of(rank: int, count: int, port: int) -> dict[str, str]:
    """A rank's environment, as torchrun makes it on one machine."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    numbers |= {"GROUP_RANK": 0, "GROUP_WORLD_SIZE": 1, "MASTER_PORT": port}
    words = {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    return {name: str(number) for name, number in numbers.items()} | words


def first_failure(started: dict[Parent, int]) -> int:
    """Wait until all ranks have ended well, or one has not; its status. What has ended is taken out."""
    while started:
        for parent in list(started):
            status = parent.wait(0.02)
            if status is not None:
                del started[parent]
            if status:
                return status
    return 0


def end(started: Mapping[Parent, int]) -> None:
    """End the ranks that are left, as torchrun does when one has failed."""
    for number in started.values():
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGTERM)
    until = time.monotonic() + GRACE_SECONDS
    for parent, number in started.items():
        if parent.wait(until - time.monotonic()) is None:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
            parent.wait(GRACE_SECONDS)
