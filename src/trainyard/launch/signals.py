"""Signals that end a process; apart from process_tree, since `make gpu-check` has no psutil."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def exit_on_signals(first: Callable[[], object] | None = None) -> Iterator[None]:
    """SIGTERM, SIGHUP and SIGINT end this process as an exception does, so that what the body has begun is ended too.

    SIGINT too: a shell starts what it runs in the background with SIGINT ignored. A second signal doesn't
    cut the ending off, which ranks use to save. In any thread but the main one, which alone gets signals,
    nothing is changed.

    Args:
        first: what is done before the exception is raised.

    Raises:
        SystemExit: one of them came; with 128 and its number, as a shell has it.
    """

    def leave(number: int, _frame: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        if first:
            first()
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
