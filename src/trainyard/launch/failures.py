"""Telling an outcome that is data (out of memory, a framework that crashed) from a failure."""

import errno
import re
import sys
import traceback
from pathlib import Path
from typing import Literal

_SAID = (
    "DefaultCPUAllocator: can't allocate memory",  # torch, on a CPU
    "std::bad_alloc",  # C++, through whatever calls it
    "CUDA out of memory",  # torch's allocator, where another error repeats its words
    "CUDA error: out of memory",  # outside torch's allocator
    "CUDA driver error: out of memory",
    "Cuda failure 2 'out of memory'",  # NCCL, and before 2.19
    "Cuda failure 'out of memory'",
    "Failed to CUDA calloc",
    "Triton Error [CUDA]: out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",  # what cuDNN 9 calls it
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
)
# cuBLAS can't make its handle: for lack of memory, or since an earlier kernel has broken the device for this process
_ON_A_WHOLE_DEVICE = "CUBLAS_STATUS_ALLOC_FAILED"
_ON_A_FULL_DEVICE = "CUBLAS_STATUS_NOT_INITIALIZED"
_LITTLE = 256 * 2**20  # bytes: several times what a handle takes with its workspace

_WATCHDOG_TIMEOUT = (
    "Watchdog caught collective operation timeout",
    "watchdog got stuck for",  # in a call of CUDA or NCCL that doesn't return
    "Heartbeat monitor timed out",  # as torch said it before 2.3
)
_WATCHDOG_LOST = (
    "ncclRemoteError",
    "remote process exited or there was a network error",
)

_FRAMEWORKS = ("colossalai", "deepspeed")  # each under engines of its name: trainyard/parallel/{name}/
_OURS = ("trainyard", "__main__")


def crashed_framework(error: BaseException) -> str | None:
    """The framework that raised `error` under an engine of its own; None where anything else did.

    What matters is the innermost frame of ours or of a framework: what a framework calls (torch, the standard
    library) is its own affair, and code of ours that a framework calls back is ours.
    """
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    known = [name for name in modules if name.partition(".")[0] in (*_FRAMEWORKS, *_OURS)]
    innermost = known[-1].partition(".")[0] if known else ""
    callers = [name for name in known if name.partition(".")[0] in _OURS]
    if innermost in _FRAMEWORKS and callers and callers[-1].startswith(f"trainyard.parallel.{innermost}"):
        return innermost
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that a device or the host has no memory left.

    torch raises its OutOfMemoryError for a device, and a plain RuntimeError that says so from
    its default allocator on a CPU; libraries below it are told by their words. (The class is known by
    name, so that launchers need no torch.)
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and says_out_of_memory(str(error), _free_device_memory())


def says_out_of_memory(message: str, free: int | None) -> bool:
    """Whether the message of a RuntimeError says that memory ran out.

    Args:
        message: the error's.
        free: bytes that the device has free; None where it doesn't tell, as after a kernel that has failed.
    """
    if any(words in message for words in _SAID):
        return True
    if free is None:
        return False
    return _ON_A_WHOLE_DEVICE in message or (_ON_A_FULL_DEVICE in message and free < _LITTLE)


def _free_device_memory() -> int | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    try:
        return torch.cuda.mem_get_info()[0]
    except RuntimeError:  # every call fails after a kernel has, such as for a label out of range
        return None


def is_lost_connection(error: BaseException) -> bool:
    """Whether `error` says that another rank is gone: what follows from that rank's end, not a failure of its own.

    torch raises a DistError, or from gloo a plain RuntimeError that names the transport.
    """
    if any(kind.__name__ == "DistError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and "gloo/transport" in str(error)


def is_timeout(error: BaseException) -> bool:
    """Whether `error` says that another rank gave no answer in time, though its connection is open: it hangs."""
    if any(kind.__name__ == "DistError" for kind in type(error).__mro__):
        return watchdog_reason(str(error)) == "timeout"
    return isinstance(error, RuntimeError) and "gloo/transport" in str(error) and "Timed out" in str(error)


def watchdog_reason(said: str) -> Literal["timeout", "lost"] | None:
    """Why NCCL's watchdog, which aborts its process (SIGABRT) without an exception, did so; by what was printed.

    None where it said nothing of another process: what a kernel of this one has done is a failure.
    """
    if re.search(r"watchdog thread terminated with exception: (?:\[[^\]]*\] )?CUDA error", said):
        return None
    if any(words in said for words in _WATCHDOG_TIMEOUT):
        return "timeout"
    return "lost" if any(words in said for words in _WATCHDOG_LOST) else None


def oom_kill_count() -> int:
    """How many processes of this control group the kernel has killed for memory; 0 where it does not tell.

    A process ended by SIGKILL ran out of memory only if this count has risen
    meanwhile; otherwise somebody ended it.
    """
    lines = Path("/proc/self/cgroup").read_text().splitlines() if Path("/proc/self/cgroup").exists() else []
    count = 0
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2: one tree
            file = Path("/sys/fs/cgroup") / path.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            file = Path("/sys/fs/cgroup/memory") / path.lstrip("/") / "memory.oom_control"
        else:
            continue
        if file.exists():
            rows = (row.split() for row in file.read_text().splitlines())
            count += sum(int(row[1]) for row in rows if row[0] == "oom_kill")
    return count
