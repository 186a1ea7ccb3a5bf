"""A limit on the memory of this process, so that running out is an outcome and not the end of the machine."""

import re
import resource
from pathlib import Path
from typing import Any

import torch


def limit_memory(limit: dict[str, Any] | None, device: torch.device) -> None:
    """Let this process take no more than `limit["bytes"]` besides what it has.

    On a GPU that is what torch's allocator may hold of it. On the host it is memory that
    may be written to and is not shared (heap, stacks, anonymous mappings: RLIMIT_DATA), as
    reserved, which is somewhat more than what is resident; libraries, which are loaded
    before, are not counted, so that all parallel settings have as much to themselves.

    Args:
        limit: kind (host, device) and bytes; None lets it take whatever there is.
        device: where it computes.
    """
    if limit is None:
        return
    if limit["kind"] == "device":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit["bytes"] / total), device)
    else:
        _limit_data(_data_memory() + limit["bytes"])


def lift_limit(limit: dict[str, Any] | None, device: torch.device) -> None:
    """Undo `limit_memory`."""
    if limit is None:
        return
    if limit["kind"] == "device":
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    else:
        _limit_data(resource.getrlimit(resource.RLIMIT_DATA)[1])


def _limit_data(size: int) -> None:
    """Set the soft limit alone: the hard one can't be raised again."""
    resource.setrlimit(resource.RLIMIT_DATA, (size, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _data_memory() -> int:
    """What the kernel counts against RLIMIT_DATA now, in bytes."""
    match = re.search(r"^VmData:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert match, "a limit on host memory needs Linux's /proc"
    return int(match[1]) * 1024
