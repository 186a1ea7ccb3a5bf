"""Runs a module as one process of a launch: `python -m trainyard.parallel.rank MODULE ARGUMENTS...`.

The process ends when the one that started it is gone, however that ended, and
leaves word of an exception where the launcher reads it. torchrun is started by
it too, so that the death of a launcher runs down the chain.
"""

import ctypes
import json
import os
import runpy
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from trainyard.errors import InputError
from trainyard.parallel.outcome import is_lost_connection, is_out_of_memory
from trainyard.parallel.slots import hold

ERROR_FILE = "TRAINYARD_ERROR_FILE"
POLL_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """End this process, at once and without clean-up, when its parent is gone."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def ends_file(errors: Path) -> Path:
    """Where torchrun writes the statuses of the ranks that failed, beside the launcher's error file."""
    return errors.with_name(f"{errors.name}.ends")


def _leave_ends(error: BaseException) -> bool:
    """Write how the ranks ended, if `error` is torchrun's that some have failed, or that it was itself ended."""
    path = os.environ.get(ERROR_FILE)
    if type(error).__name__ == "ChildFailedError":
        statuses = [failure.exitcode for failure in vars(error)["failures"].values()]
    elif type(error).__name__ == "SignalException":
        statuses = [-vars(error)["sigval"]]
    else:
        return False
    if path is not None:
        ends_file(Path(path)).write_text(json.dumps(statuses), encoding="utf-8")
    return True


def _leave_word(error: BaseException) -> None:
    """Write the first exception of the group to the launcher's error file; later ones follow from it."""
    path = os.environ.get(ERROR_FILE)
    if path is None:
        return
    kind = "error"
    if isinstance(error, InputError):
        kind = "input"
    elif is_out_of_memory(error):
        kind = "out-of-memory"
    elif is_lost_connection(error):
        kind = "lost"
    word = {"kind": kind, "message": str(error) if kind == "input" else f"{type(error).__name__}: {error}"}
    try:
        with Path(path).open("x", encoding="utf-8") as file:
            json.dump(word, file)
    except FileExistsError:
        pass


def main() -> None:
    """Run the module named by the first argument with the others."""
    end_with_parent()
    hold()
    module, sys.argv = sys.argv[1], sys.argv[1:]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except Exception as error:
        # Word first: a rank that waits for this one may be the first to print.
        if not _leave_ends(error):
            _leave_word(error)
        if module != "torch.distributed.run":  # the ranks that it started have said what happened
            traceback.print_exc()
        sys.stderr.flush()
        # The group can't be left in order when others still wait in it.
        os._exit(1)
    if module != "torch.distributed.run":
        # All is written; gloo's threads now and then abort a process that takes itself down in order.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
