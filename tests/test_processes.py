"""What waits for a process says what became of it."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from processes import assert_gone, below, wait_for

Start = Callable[..., subprocess.Popen[bytes]]
ENDS = "import sys; print('no room', file=sys.stderr)"
SLEEPS = "import time; time.sleep(60)"
STARTS_ANOTHER = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPS!r}])"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start some Python; what is left of it is ended."""
    started = []

    def begin(code: str, stderr: int | IO[bytes] = subprocess.PIPE) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", code], stderr=stderr))
        return started[-1]

    yield begin
    for process in started:
        for each in (*below(process), process):
            each.kill()
        process.communicate()


def test_what_has_come_is_given_though_the_process_has_ended(start: Start, tmp_path: Path) -> None:
    process = start(f"open({str(tmp_path / 'file')!r}, 'w')")
    assert wait_for(lambda: list(tmp_path.iterdir()), 60, "a file", process) == [tmp_path / "file"]
    process.wait()
    assert wait_for(lambda: "found", 60, "a word", process) == "found"


def test_a_process_that_ends_before_fails_the_wait_at_once_with_what_it_said(start: Start, tmp_path: Path) -> None:
    began = time.monotonic()
    told = "a file: the process has ended without it: no room"
    with pytest.raises(AssertionError, match=told):
        wait_for(lambda: False, 600, "a file", start(ENDS))
    log = tmp_path / "log"
    with log.open("wb") as file, pytest.raises(AssertionError, match=told):
        wait_for(lambda: False, 600, "a file", start(ENDS, file), log)
    assert time.monotonic() - began < 60


def test_what_does_not_come_in_time_fails_the_wait_though_the_process_holds_its_pipe(start: Start) -> None:
    with pytest.raises(AssertionError, match=r"a file: not within 1 s$"):
        wait_for(lambda: False, 1, "a file", start(SLEEPS))


def test_those_below_a_process_are_found_and_seen_to_end(start: Start) -> None:
    process = start(STARTS_ANOTHER)
    (other,) = family = wait_for(lambda: below(process), 60, "another one below it", process)
    with pytest.raises(AssertionError, match=rf"the end of .*pid={other.pid}\b"):
        assert_gone(family, 0.5)
    other.kill()
    assert_gone(family, 10)
    process.wait()
    assert below(process) == []
