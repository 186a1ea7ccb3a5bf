"""Processes end with those that started them."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

POLL_SECONDS = 0.5
GRACE_SECONDS = 20.0


def end(family: Sequence[psutil.Process], seconds: float) -> None:
    """End processes: by SIGTERM, and by SIGKILL those that live `seconds` later."""
    for process in family:
        _signal(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=seconds)
    for process in alive:
        _signal(process, signal.SIGKILL)


@contextmanager
def ended_with_snakemake() -> Iterator[None]:
    """End this process, which Snakemake has started, and all below it when Snakemake is gone, however that ended.

    So do those that are between them: the shell that enters an environment, the step of a cluster's job.
    """
    above = _up_to_snakemake()
    if not above:
        sys.exit("what started this job is gone")
    done = threading.Event()

    def watch() -> None:
        while not done.wait(POLL_SECONDS):
            if not all(_lives(process) for process in above):
                end(psutil.Process().children(recursive=True), GRACE_SECONDS)
                os.kill(os.getpid(), signal.SIGKILL)

    watcher = threading.Thread(target=watch, name="end-with-snakemake", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _up_to_snakemake() -> list[psutil.Process]:
    """This process's ancestors up to the nearest Snakemake.

    Its parent alone where none is called so, since Python code may run Snakemake too; none where that is gone.
    """
    above: list[psutil.Process] = []
    for process in psutil.Process().parents():
        above.append(process)
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any(Path(word).name == "snakemake" for word in words[:4]):
            return above
    return [each for each in above[:1] if each.pid != 1 or each.name().startswith("python")]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
