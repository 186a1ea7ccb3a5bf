"""Signals that end a process; apart from process_tree, since `make gpu-check` has no psutil."""

import faulthandler
import os
import signal
import sys
import threading
import time
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


def heed_sigterm(handler: Callable[[], object], seconds: float) -> None:
    """Let SIGTERM call `handler` in the main thread, and end this process (SIGKILL) where it can't in so many seconds.

    Python calls handlers between its own instructions alone: a main thread that waits in C for a GPU whose
    peers are gone never comes to them. The log then says where it waits.
    """
    heard: list[int] = []
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def hear(number: int, _frame: object) -> None:
        heard.append(number)
        handler()

    def watch() -> None:
        while signal.SIGTERM not in os.read(reading, 1024):
            pass
        time.sleep(seconds)
        if not heard:
            print(f"took no notice of SIGTERM in {seconds:.0f} s, and is ended:", file=sys.stderr, flush=True)
            faulthandler.dump_traceback()
            os.kill(os.getpid(), signal.SIGKILL)

    signal.signal(signal.SIGTERM, hear)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)  # which C writes to, whatever the main thread is in
    threading.Thread(target=watch, name="heed-sigterm", daemon=True).start()
