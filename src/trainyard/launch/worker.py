"""Runs a module as one process of a launch: `python -m trainyard.launch.worker MODULE ARGUMENTS...`.

The process ends when the one that started it is gone, however that ended, and
leaves word of an exception where the launcher reads it. What starts the ranks of
a machine (torchrun) is run by it too, so that the death of a launcher runs down the chain.
"""

import ctypes
import importlib
import json
import os
import runpy
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from trainyard.core.errors import InputError
from trainyard.core.files import explain_write_error, report_write_errors
from trainyard.hardware.gpus import see_own_slice
from trainyard.launch.failures import (
    crashed_framework,
    is_lost_connection,
    is_out_of_memory,
    is_timeout,
    oom_kill_count,
)
from trainyard.launch.gpu_queue import keep_lease

ERROR_FILE = "TRAINYARD_ERROR_FILE"
PARENT = "TRAINYARD_PARENT"
WORD_BYTES = 64 * 1024
POLL_SECONDS = 0.5
_STARTERS = ("torch.distributed.run", "trainyard.launch.slurm")
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """End this process, at once and without clean-up, when its parent is gone.

    The parent says in the environment who it is: it may be gone before this process can look,
    and the interpreter may be a script that starts Python.
    """
    parent = int(os.environ.get(PARENT, os.getppid()))
    os.environ[PARENT] = str(os.getpid())  # for those that this process starts
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent or _is_above(parent):
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def _is_above(pid: int) -> bool:
    """Whether `pid` is a parent's parent, or further up."""
    try:
        from trainyard.launch.process_tree import ancestors  # noqa: PLC0415
    except ImportError:  # the check of GPUs does without psutil, and starts its ranks itself
        return False
    return any(process.pid == pid for process in ancestors())


def exit_file(errors: Path, node: str) -> Path:
    """Where torchrun writes how the ranks of a node have ended, beside the launcher's error file."""
    return errors.with_name(f"{errors.name}.ends-{node}")


def _write_exits(error: BaseException, kills: int) -> bool:
    """Write how the ranks ended, if `error` is torchrun's that some have failed, or that it was itself ended.

    Args:
        error: of torchrun.
        kills: how many of the kernel's kills for memory there had been before.
    """
    path = os.environ.get(ERROR_FILE)
    if type(error).__name__ == "ChildFailedError":
        statuses = [failure.exitcode for failure in vars(error)["failures"].values()]
    elif type(error).__name__ == "SignalException":
        statuses = [-vars(error)["sigval"]]
    else:
        return False
    if path is not None:
        ends = {"statuses": statuses, "kills": oom_kill_count() - kills}
        file = exit_file(Path(path), os.environ.get("SLURM_NODEID", "0"))
        try:
            file.write_text(json.dumps(ends), encoding="utf-8")
        except OSError:  # a full disk, of which a rank has left word
            file.unlink(missing_ok=True)
    return True


def reserve_error_file(errors: Path) -> None:
    """Make the error file before any rank needs it, so that one can leave word of a full disk.

    Raises:
        InputError: the disk is full already, or may not be written to.
    """
    with report_write_errors(errors.parent):
        errors.write_bytes(b" " * WORD_BYTES)


def first_error(errors: Path) -> dict[str, str] | None:
    """What a rank has said, if one has: `kind` and `message`."""
    try:
        return json.loads(error_path(errors).read_bytes())
    except (FileNotFoundError, ValueError):  # or it was killed while it wrote
        return None


def error_path(errors: Path) -> Path:
    """What the error file is called when a rank has taken it."""
    return errors.with_name(f"{errors.name}.said")


def _report_error(error: BaseException) -> None:
    """Write the first exception of the group to the launcher's error file; later ones follow from it."""
    path = os.environ.get(ERROR_FILE)
    if path is None:
        return
    kind, message = "error", f"{type(error).__name__}: {error}"
    if isinstance(error, InputError):
        kind, message = "input", str(error)
    elif problem := explain_write_error(error):
        file, reason = problem
        kind, message = "input", f"{file or Path(path).parent}: can't be written: {reason}"
    elif is_out_of_memory(error):
        kind = "out-of-memory"
    elif is_timeout(error):
        kind = "timeout"
    elif is_lost_connection(error):
        kind = "lost"
    elif framework := crashed_framework(error):
        kind, message = "crash", f"{framework} crashed: {message}"
    word = json.dumps({"kind": kind, "message": message[: WORD_BYTES // 8]})
    with suppress(FileNotFoundError):  # another rank was quicker
        taken_file = Path(path).rename(error_path(Path(path)))
        with taken_file.open("r+b") as file:
            file.write(word.encode())


def _ignore_repeated_signals() -> None:
    """Let torchrun wait for its ranks, which save, whatever comes after the first signal: a second one cuts that off.

    SLURM sends two: its own, and that of the srun that it has told to end.
    """
    # by name: the launcher reads this file too, and does without torch
    api: Any = importlib.import_module("torch.distributed.elastic.multiprocessing.api")
    handler = api._terminate_process_handler

    def once(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        handler(number, frame)

    api._terminate_process_handler = once


def main() -> None:
    """Run the module named by the first argument with the others."""
    for stream in (sys.stdout, sys.stderr):  # a line in one piece: several ranks write into one log
        stream.reconfigure(line_buffering=True, write_through=False)  # pyright: ignore[reportAttributeAccessIssue]
    end_with_parent()
    keep_lease()
    if "LOCAL_RANK" in os.environ:  # torch and the frameworks call a rank's device by it
        os.environ["LOCAL_RANK"] = str(see_own_slice(int(os.environ["LOCAL_RANK"])))
    module, sys.argv = sys.argv[1], sys.argv[1:]
    kills = oom_kill_count()
    try:
        if module in _STARTERS:
            _ignore_repeated_signals()
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except Exception as error:
        # Word first: a rank that waits for this one may be the first to print.
        if not _write_exits(error, kills):
            _report_error(error)
        if module not in _STARTERS:  # else the ranks have said what happened
            with suppress(OSError):  # the log's disk may be full
                traceback.print_exc()
                sys.stderr.flush()
        # The group can't be left in order when others still wait in it.
        os._exit(1)
    if module not in _STARTERS:
        # All is written; gloo's threads now and then abort a process that takes itself down in order.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
