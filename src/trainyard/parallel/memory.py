"""How much memory this process takes and has taken."""

import re
import resource
import sys
from pathlib import Path

import torch


def host_memory() -> int:
    """The resident memory of this process now, in bytes (its peak, where the system tells no more)."""
    return _status("VmRSS") or _peak()


def peak_host_memory() -> int:
    """The largest resident memory that this process has had, in bytes."""
    return _status("VmHWM") or _peak()


def peak_device_memory(device: torch.device) -> int | None:
    """The most that this process's tensors have taken of its GPU at once, in bytes; None without one."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def _status(name: str) -> int | None:
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    found = re.search(rf"^{name}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
