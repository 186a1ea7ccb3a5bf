"""Telling an outcome that is data (out of memory, a framework that crashed) from a failure."""

import errno
import traceback
from pathlib import Path

_SAID = (
    "DefaultCPUAllocator: can't allocate memory",  # torch, on a CPU
    "std::bad_alloc",  # C++, through whatever calls it
    "CUDA error: out of memory",  # outside torch's allocator
    "Cuda failure 2 'out of memory'",  # NCCL
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
    its default allocator on a CPU. (The class is known by name, so that launchers need no torch.)
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID)


def is_lost_connection(error: BaseException) -> bool:
    """Whether `error` says that another rank is gone: what follows from that rank's end, not a failure of its own.

    torch raises a DistError, or from gloo a plain RuntimeError that names the transport.
    """
    if any(kind.__name__ == "DistError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and "gloo/transport" in str(error)


def is_timeout(error: BaseException) -> bool:
    """Whether `error` says that another rank gave no answer in time, though its connection is open: it hangs."""
    return isinstance(error, RuntimeError) and "gloo/transport" in str(error) and "Timed out" in str(error)


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
