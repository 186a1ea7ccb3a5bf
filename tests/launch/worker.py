"""A process of a launch that does what its first argument says, and leaves its number in the second's folder."""

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

from trainyard.core.errors import InputError
from trainyard.launch.gpu_queue import FILE
from trainyard.launch.signals import heed_sigterm

ENDED = "[PG ID 0 PG GUID 0(default_pg) Rank 0] Process group watchdog thread terminated with exception:"
SAID = "terminate called after throwing an instance of 'c10::DistBackendError'\n  what():  "
# as torch's watchdog of NCCL prints it before it aborts
WATCHDOG = {
    "watchdog-timeout": (
        f"{SAID}{ENDED} [Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=4, OpType=BROADCAST, "
        "NumelIn=112, NumelOut=112, Timeout(ms)=1800000) ran for 1800011 milliseconds before timing out."
    ),
    "watchdog-stuck": (
        "[rank0]:[E429 13:55:49.384372190 ProcessGroupNCCL.cpp:1743] [PG ID 0 PG GUID 0(default_pg) Rank 0] "
        "ProcessGroupNCCL's watchdog got stuck for 480 seconds without making progress in monitoring enqueued "
        "collectives."
    ),
    "watchdog-lost": (
        f"{SAID}{ENDED} NCCL error: remote process exited or there was a network error, NCCL version 2.27.5\n"
        "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely."
    ),
    "watchdog-kernel": f"{SAID}{ENDED} CUDA error: an illegal memory access was encountered",
    "abort": "terminate called after throwing an instance of 'std::out_of_range'",
}


ENDS = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exit": lambda: sys.exit(3),
}


def wait_in_vain(deed: str, rank: int) -> None:
    """Be aborted by what a watchdog is, or be told to end where it isn't heard."""
    if deed == "deaf":
        heed_sigterm(lambda: None, 1.0)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        wait_in_c()
    time.sleep(2 * rank)  # the first to speak speaks for all
    print(WATCHDOG[deed], file=sys.stderr, flush=True)
    os.abort()


def wait_in_c() -> None:
    """Wait for ever where no handler of Python's runs: for a lock of C's that this thread holds already."""
    c, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)  # zeros: a plain lock that is free
    c.pthread_mutex_lock(lock)
    c.pthread_mutex_lock(lock)


def main() -> None:
    deed, folder = sys.argv[1], Path(sys.argv[2])
    rank = int(os.environ.get("RANK", "0"))
    (folder / f"pid-{rank}").write_text(str(os.getpid()))
    if deed == "sleep":
        time.sleep(120)
    elif deed == "killed-in-a-sum":
        from trainyard.parallel import process_group  # noqa: PLC0415 (as below)

        process_group.start("cpu")
        process_group.barrier()
        if rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        process_group.barrier()
    elif deed == "deaf" or deed in WATCHDOG:
        wait_in_vain(deed, rank)
    elif rank != 0:
        time.sleep(1 if deed == "print" else 120)
    elif deed == "print":
        print("paths:", os.environ["PYTHONPATH"], "threads:", os.environ["OMP_NUM_THREADS"], "here:", "" in sys.path)
    elif deed == "gpus":
        open_files = [file.resolve() for file in Path("/proc/self/fd").iterdir()]
        print(
            "gpus:", os.environ.get("CUDA_VISIBLE_DEVICES"), "held:", Path(os.environ.get(FILE, "none")) in open_files
        )
    elif deed == "memory":
        import torch  # noqa: PLC0415 (a worker that only sleeps is to start at once)

        torch.empty(2**50)
    elif deed == "input":
        raise InputError("data.txt, row 7: empty; delete it")
    elif deed in ENDS:
        ENDS[deed]()
    elif deed == "bug-that-names-signals":
        print("Signal 9 (SIGKILL), Signal 15 (SIGTERM), status -9")
        raise KeyError("a bug")
    else:
        raise KeyError("a bug")


if __name__ == "__main__":
    main()
