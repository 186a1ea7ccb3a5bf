"""Processes that tests start: what lives below them, and waiting for what they do; for tests of several folders."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from trainyard.launch import launch

Found = TypeVar("Found")
SAID = 6000  # characters, of a log's end
AT_ONCE = 0.002  # seconds: the pause between two looks for what is soon over


def wait_for(
    condition: Callable[[], Found],
    seconds: float,
    what: str,
    process: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
    every: float = 0.1,
) -> Found:
    """Wait until something has come.

    Args:
        condition: gives something true when it has; asked again and again.
        seconds: how long that may take.
        what: what is waited for, in words.
        process: what is to do it, and has failed if it ends before.
        log: where the process writes, if that is no pipe of its own.
        every: the pause between two looks, in seconds.

    Returns:
        What the condition gave.

    Raises:
        AssertionError: it has not come in time, or the process has ended; with the end of what that has said.
    """
    until = time.monotonic() + seconds
    while True:
        ended = process is not None and process.poll() is not None  # looked at first: it may have come just before
        if found := condition():
            return found
        assert not ended, f"{what}: the process has ended without it{_said(process, log)}"
        assert time.monotonic() < until, f"{what}: not within {seconds:.0f} s{_said(process, log)}"
        time.sleep(every)


def below(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """All processes that a process of ours has started, and theirs; none once it has ended."""
    # until it is polled its number is no other process's
    return [] if process.poll() is not None else psutil.Process(process.pid).children(recursive=True)


@contextmanager
def stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop a process and all below it meanwhile: however long the body takes, to them it is one moment."""
    family = [psutil.Process(process.pid), *below(process)]
    _send(family, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(family, signal.SIGCONT)


def _send(family: Sequence[psutil.Process], number: signal.Signals) -> None:
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(number)


def assert_gone(family: Sequence[psutil.Process], seconds: float = 60) -> None:
    """Assert that processes end in time, whether or not anybody has asked how yet."""
    wait_for(lambda: not any(map(_lives, family)), seconds, f"the end of {family}")


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _said(process: subprocess.Popen[bytes] | None, log: Path | None) -> str:
    """The end of a log or of a pipe, which those below the process may still hold."""
    said = log.read_bytes() if log and log.exists() else b""
    if process and process.stderr:
        os.set_blocking(process.stderr.fileno(), False)
        said += process.stderr.read() or b""
    return f": {said.decode(errors='replace')[-SAID:]}" if said else ""


@contextmanager
def launched_from(*folders: Path) -> Iterator[None]:
    """Let the processes of a launch, which import our code alone, import the modules of some folders of tests too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "SOURCE", os.pathsep.join(map(str, (launch.SOURCE, *folders))))
        yield
