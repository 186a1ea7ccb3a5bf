"""Starts the processes of a training or measurement, and ends them whatever happens."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import psutil

from trainyard.errors import InputError
from trainyard.parallel.outcome import oom_kill_count
from trainyard.parallel.rank import ERROR_FILE, POLL_SECONDS, ends_file
from trainyard.parallel.slots import taken

SOURCE = Path(__file__).resolve().parents[2]
TAIL_LINES = 25
# Long enough for a trainer to finish its step and save a checkpoint; clusters give 30 s before SIGKILL.
GRACE_SECONDS = 20.0


class LaunchError(RuntimeError):
    """A process failed; the message holds the log's last lines.

    Attributes:
        killed: whether somebody ended a process by a signal, and nothing had failed before.
    """

    def __init__(self, message: str, killed: bool) -> None:
        super().__init__(message)
        self.killed = killed


def launch(
    module: str,
    arguments: Sequence[str],
    processes: int,
    threads: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    python: str = sys.executable,
) -> str | None:
    """Run `python -m module arguments` in `processes` processes of `threads` threads, and wait for them.

    Everything they print goes to `log`. They end when this process ends, by
    whatever signal, and when the Snakemake above it does. On GPUs each has one
    that no other job has; waits for them.

    Args:
        module: an importable name under `src`.
        arguments: for every process.
        processes: on this machine.
        threads: of each process (OMP_NUM_THREADS).
        log: is appended to.
        environment: variables over this process's own.
        device: what the processes compute on.
        python: the interpreter, which has the packages that they need.

    Returns:
        None when all ended well; the reason when memory ran out.

    Raises:
        InputError: a process raised it; with its message.
        LaunchError: a process failed in any other way.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    errors = log.with_name(f".{log.name}.error-{os.getpid()}")
    ends = ends_file(errors)
    for left in (errors, ends):  # by a launcher of the same number that was killed
        left.unlink(missing_ok=True)
    kills = oom_kill_count()
    words = command(module, arguments, processes, python)
    variables = {**(environment or {}), ERROR_FILE: str(errors.absolute())}
    try:
        with (
            log.open("ab") as output,
            _ended_with_snakemake(),
            _ended_by_signals(),
            taken(processes if device == "cuda" else 0) as places,
        ):
            status = _run(words, child_environment(threads, variables | places), output.fileno())
        word = json.loads(errors.read_text(encoding="utf-8")) if errors.exists() else None
        statuses = json.loads(ends.read_text(encoding="utf-8")) if ends.exists() else [status]
    finally:
        errors.unlink(missing_ok=True)
        ends.unlink(missing_ok=True)
    if status == 0:
        return None
    if word and word["kind"] == "input":
        raise InputError(word["message"])
    if word and word["kind"] == "out-of-memory":
        return word["message"].splitlines()[0]
    if oom_kill_count() > kills:
        return "the kernel ended a process for lack of memory (SIGKILL; the control group's oom_kill count rose)"
    said = f"{word['message'].strip()}\n" if word else ""
    message = f"{module} ended with status {status}: {said}the last lines of {log}:\n{_tail(log)}"
    raise LaunchError(message, _killed(word["kind"] if word else None, statuses))


def _killed(kind: str | None, statuses: Sequence[int]) -> bool:
    """Whether a signal ended the ranks, by the first word of a rank and the statuses of those that failed.

    torchrun ends the others by SIGTERM when one has failed. So a rank that failed by
    itself speaks for all, unless it only lost its connection to one that was killed.
    """
    if kind == "error":
        return False
    ended = [status for status in statuses if status < 0 or kind != "lost"]
    return bool(ended) and all(-status in (signal.SIGKILL, signal.SIGTERM) for status in ended)


def command(module: str, arguments: Sequence[str], processes: int, python: str = sys.executable) -> list[str]:
    """The command line that `launch` runs."""
    rank = [python, "-m", "trainyard.parallel.rank"]
    if processes == 1:
        return [*rank, module, *arguments]
    # As --standalone, but with addresses that need no resolver.
    local = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1"]
    torchrun = ["torch.distributed.run", f"--nproc-per-node={processes}", "--monitor-interval=0.5"]
    return [*rank, *torchrun, *local, f"--rdzv-id={os.getpid()}", "-m", "trainyard.parallel.rank", module, *arguments]


def child_environment(threads: int, more: Mapping[str, str]) -> dict[str, str]:
    """The environment of the processes: this one's, with our code and their environment's packages alone."""
    environment = {**os.environ, **more}
    environment |= {
        "PYTHONPATH": str(SOURCE),
        "PYTHONNOUSERSITE": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
    }
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
    if loopback:
        environment.setdefault("GLOO_SOCKET_IFNAME", loopback)
    return environment


def _run(arguments: list[str], environment: Mapping[str, str], output: int) -> int:
    """Run a command in a session of its own, and give its status; nothing of it outlives this call."""
    process = subprocess.Popen(
        arguments,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    tree = psutil.Process(process.pid)
    try:
        return process.wait()
    finally:
        with suppress(psutil.NoSuchProcess):
            _end([tree, *tree.children(recursive=True)])
        process.wait()


def _end(family: list[psutil.Process]) -> None:
    """End processes: politely, then by SIGKILL."""
    for process in family:
        _signal(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=GRACE_SECONDS)
    for process in alive:
        _signal(process, signal.SIGKILL)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """These signals end this process as an exception does, so that its children are ended first.

    SIGINT too: a shell starts what it runs in the background with SIGINT ignored.
    """

    def leave(number: int, _frame: object) -> None:
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


@contextmanager
def _ended_with_snakemake() -> Iterator[None]:
    """End this process and all below it when the Snakemake that started it, or one between them, is gone."""
    above = _up_to_snakemake()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(POLL_SECONDS):
            if not all(_lives(process) for process in above):
                _end(psutil.Process().children(recursive=True))
                os.kill(os.getpid(), signal.SIGKILL)

    watcher = threading.Thread(target=watch, name="end-with-snakemake", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _up_to_snakemake() -> list[psutil.Process]:
    """This process's ancestors up to the nearest Snakemake; none where it was started by hand."""
    above = []
    for process in psutil.Process().parents():
        above.append(process)
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any(Path(word).name == "snakemake" for word in words[:4]):
            return above
    return []


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])
