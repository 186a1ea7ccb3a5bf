"""Bad input by the thousand: each either works or gives one InputError that names file and place."""

import contextlib
import os
import random
import re
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from trainyard.core.errors import InputError

SECONDS = 20  # for one input, on a machine that does something else at the same time
LONG = 10  # times as many inputs


@contextlib.contextmanager
def bounded(seconds: int = SECONDS) -> Iterator[None]:
    """End what takes longer by a TimeoutError."""

    def late(_number: int, _frame: FrameType | None) -> NoReturn:
        raise TimeoutError(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


Fuzz = Callable[..., None]


@pytest.fixture(params=[pytest.param("settled", marks=pytest.mark.slow), pytest.param("fresh", marks=pytest.mark.long)])
def fuzz(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Fuzz:
    """Try a check on inputs drawn from a strategy: always the same ones, or, in the long tests, many more new ones."""

    def run(strategy: SearchStrategy[Any], check: Callable[[Any], object], inputs: int) -> None:
        tried = 0
        chosen = 0 if request.param == "settled" else random.SystemRandom().getrandbits(32)
        if chosen:
            print(f"seed {chosen}")

        @seed(chosen)
        @settings(
            max_examples=inputs * (LONG if chosen else 1),
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
            print_blob=False,
        )
        @given(strategy)
        def each(value: Any) -> None:
            nonlocal tried
            tried += 1
            with bounded():
                check(value)

        each()
        record_property("inputs tried", tried)

    return run


@pytest.fixture
def refused() -> Callable[..., Any]:
    """Call a function: its value, or None where it refuses its input by an InputError whose lines begin as they should.

    `place` is a regular expression of what they begin with.
    """

    def call(function: Callable[[], Any], place: str) -> Any:
        try:
            return function()
        except InputError as error:
            for line in str(error).split("\n"):
                assert re.match(place, line), f"this doesn't begin with {place}: {line}"
            return None

    return call


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder, in memory where there is such a place: thousands of small files are synced in it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)
