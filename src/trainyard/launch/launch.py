"""Starts the processes of a training or measurement, and ends them whatever happens."""

import glob
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import psutil

from trainyard.core.errors import InputError
from trainyard.core.files import check_writable
from trainyard.core.repository import SOURCE
from trainyard.core.timeouts import GRACE_SECONDS, TIMEOUT
from trainyard.launch.environment import child_environment
from trainyard.launch.failures import oom_kill_count, watchdog_reason
from trainyard.launch.gpu_queue import acquire_gpus
from trainyard.launch.meter import FOLDER, metered, visible_gpus
from trainyard.launch.process_tree import end
from trainyard.launch.signals import exit_on_signals
from trainyard.launch.slurm import srun_command, torchrun_arguments
from trainyard.launch.worker import ERROR_FILE, error_path, exit_file, first_error, reserve_error_file

TAIL_LINES = 25


class LaunchError(RuntimeError):
    """A process failed; the message holds the log's last lines.

    Attributes:
        interruption: what came over the processes, if nothing had failed before; it can be run again.
        crash: what a framework said that crashed under its own engine, and the log's last lines.
    """

    def __init__(self, message: str, interruption: str | None, crash: str | None = None) -> None:
        super().__init__(message)
        self.interruption = interruption
        self.crash = crash


def launch(
    module: str,
    arguments: Sequence[str],
    processes: int,
    threads: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    python: str = sys.executable,
    nodes: int = 1,
    meter: Path | None = None,
) -> str | None:
    """Run `python -m module arguments` in `processes` processes of `threads` threads, and wait for them.

    Everything they print goes to `log`. They end when this process ends, by whatever signal. On GPUs each
    has one that no other job has; waits for them.

    Args:
        module: an importable name under `src`.
        arguments: for every process.
        processes: on all nodes.
        threads: of each process (OMP_NUM_THREADS).
        log: this launch's own; is appended to; its folder is one that all nodes see.
        environment: variables over this process's own.
        device: what the processes compute on.
        python: the interpreter, which has the packages that they need.
        nodes: of the SLURM job that this process is the script of; 1: all processes are on this machine.
        meter: a folder that all nodes see, for what each takes of time, memory and energy; None: nothing is read.

    Returns:
        None when all ended well; the reason when memory ran out.

    Raises:
        InputError: a process raised it; with its message.
        LaunchError: a process failed in any other way.
    """
    check_writable(log.parent)
    errors = log.with_name(f".{log.name}.error-{os.getpid()}")
    for left in log.parent.glob(f".{glob.escape(log.name)}.error-*"):  # by a launcher that was killed
        left.unlink()
    reserve_error_file(errors)
    kills, before = oom_kill_count(), log.stat().st_size if log.exists() else 0
    if nodes == 1:
        words = build_command(module, arguments, processes, python)
    else:
        words = srun_command(nodes, processes, threads, device, GRACE_SECONDS, module, arguments, python)
    variables = {
        **(environment or {}),
        ERROR_FILE: str(errors.absolute()),
        # between torchrun's SIGTERM and SIGKILL; versions of torch that don't know it take 30 s
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": f"{GRACE_SECONDS:.0f}",
    }
    if nodes > 1 and meter is not None:
        variables[FOLDER] = str(meter.absolute())
    variables = child_environment(SOURCE, threads, variables, here_alone=nodes == 1)
    gpus = processes if device == "cuda" and nodes == 1 else 0
    try:
        with (
            log.open("ab") as output,
            exit_on_signals(),
            acquire_gpus(gpus) as places,
            metered(meter if nodes == 1 else None, processes, visible_gpus(variables | places, gpus)),
        ):
            status = _run(words, variables | places, output.fileno(), elsewhere=nodes > 1)
        word = first_error(errors)
        ends = _read_exits(errors, nodes)
    finally:
        _clear(errors, nodes)
    if status == 0:
        return None
    kind = word["kind"] if word else None
    if word and kind == "input":
        raise InputError(word["message"])
    if word and kind == "out-of-memory":
        return word["message"].splitlines()[0]
    # other processes of the control group count too: a rank that has failed by itself speaks for all
    if kind in (None, "lost") and (oom_kill_count() > kills or any(node["kills"] for node in ends)):
        return "the kernel ended a process for lack of memory (SIGKILL; the control group's oom_kill count rose)"
    rank_message = f"{word['message'].strip()}\n" if word else ""
    message = f"{module} exited with status {status}: {rank_message}the last lines of {log}:\n{_tail(log)}"
    # as a shell does, srun adds 128 to the number of a signal
    statuses = [each for node in ends for each in node["statuses"]] or [128 - status if status > 128 else status]
    crash = None
    if word and kind == "crash":
        crash = f"{word['message'].splitlines()[0]}\nThe last lines of {log}:\n{_tail(log)}"
    raise LaunchError(message, _find_interruption(kind, statuses, watchdog_reason(_said_since(log, before))), crash)


def _exit_files(errors: Path, nodes: int) -> list[Path]:
    """By their names: NFS may list a folder as it was a while ago."""
    return [exit_file(errors, str(node)) for node in range(nodes)]


def _read_exits(errors: Path, nodes: int) -> list[dict[str, Any]]:
    """What each node has left beside the error file, if it has."""
    results = []
    for file in _exit_files(errors, nodes):
        with suppress(FileNotFoundError, ValueError):  # or it was killed while it wrote
            results.append(json.loads(file.read_bytes()))
    return results


def _clear(errors: Path, nodes: int) -> None:
    for file in (errors, error_path(errors), *_exit_files(errors, nodes)):
        file.unlink(missing_ok=True)


def _find_interruption(
    kind: str | None, statuses: Sequence[int], watchdog: Literal["timeout", "lost"] | None
) -> str | None:
    """What came over the ranks, by the first word of a rank and the statuses of those that failed; None: a failure.

    torchrun ends the others by SIGTERM when one has failed. So a rank that failed by
    itself speaks for all, unless it only lost its connection to one that was killed. NCCL's `watchdog` aborts
    a process that waits in vain for another, without an exception.
    """
    if kind in ("error", "crash"):
        return None
    ended = [-status for status in statuses if status < 0 or kind != "lost"]
    aborted = watchdog is not None and signal.SIGABRT in ended
    if kind == "timeout" or (aborted and watchdog == "timeout"):
        return f"a process of it gave no answer in time ({TIMEOUT})"
    if not ended or any(each not in (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT) for each in ended):
        return None
    if signal.SIGABRT in ended:
        return "a process of it lost its connection to another" if aborted else None
    return "it was killed"


def build_command(module: str, arguments: Sequence[str], processes: int, python: str = sys.executable) -> list[str]:
    """The command line that `launch` runs for the processes of one machine."""
    rank = [python, "-m", "trainyard.launch.worker"]
    if processes == 1:
        return [*rank, module, *arguments]
    # As --standalone, but with addresses that need no resolver.
    meeting = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1"]
    return [*rank, *torchrun_arguments(processes, [*meeting, f"--rdzv-id={os.getpid()}"], module, arguments)]


def _run(arguments: list[str], environment: Mapping[str, str], output: int, elsewhere: bool) -> int:
    """Run a command in a session of its own, and give its status; nothing of it outlives this call.

    Args:
        arguments: the command.
        environment: its variables.
        output: the descriptor that it prints to.
        elsewhere: whether its processes are on other machines too, and end with its standard input.
    """
    process = subprocess.Popen(
        arguments,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    tree = psutil.Process(process.pid)
    try:
        return process.wait()
    finally:
        assert process.stdin is not None
        process.stdin.close()
        if elsewhere:
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
        with suppress(psutil.NoSuchProcess):
            end([tree, *tree.children(recursive=True)], GRACE_SECONDS)
        process.wait()


def _said_since(log: Path, start: int) -> str:
    """What was printed to a log after its first `start` bytes."""
    with log.open("rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace")


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])
