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
def end_with_snakemake() -> Iterator[None]:
    """End this process, which Snakemake has started, and all below it when Snakemake is gone, however that ended.

    So do those that are between them: the shell that enters an environment, the step of a cluster's job.
    """
    above = _up_to_snakemake()
    if not above:
        sys.exit("the process that started this job is gone")
    done = threading.Event()

    def watch() -> None:
        while not done.wait(POLL_SECONDS):
            if not all(_is_alive(process) for process in above):
                end(psutil.Process().children(recursive=True), GRACE_SECONDS)
                os.kill(os.getpid(), signal.SIGKILL)

    watcher = threading.Thread(target=watch, name="end-with-snakemake", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def ancestors() -> Iterator[psutil.Process]:
    """This process's parent, that one's parent, and so on, as far as this user may see them."""
    process = psutil.Process()
    with suppress(psutil.Error):
        while process := process.parent():
            yield process


def is_snakemake(command: Sequence[str]) -> bool:
    """Whether a command line is Snakemake's: `snakemake ...`, `python -u -m snakemake ...`."""
    return any(Path(word).name == "snakemake" for word in command[:4])


def _up_to_snakemake() -> list[psutil.Process]:
    """This process's ancestors up to the nearest Snakemake; none where that is gone.

    Python code may run Snakemake too: up to the nearest Python where none is called so. What lives on
    is none: the shell between them, and init or what else takes in those that lose their parent.
    """
    above: list[psutil.Process] = []
    pythons: list[int] = []
    for process in ancestors():
        above.append(process)
        with suppress(psutil.Error):
            if is_snakemake(process.cmdline()):
                return above
            if Path(process.exe()).name.lower().startswith("python"):
                pythons.append(len(above))
    return above[: pythons[0]] if pythons else []


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
