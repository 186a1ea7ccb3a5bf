"""How much memory this process takes and has taken."""

import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import torch


def host_memory() -> int:
    """The resident memory of this process now, in bytes (its peak, where the system tells no more)."""
    return _status("VmRSS") or _peak()


def peak_host_memory() -> int:
    """The largest resident memory that this process has had, in bytes."""
    return _status("VmHWM") or _peak()


def free_host_memory() -> int | None:
    """What the machine and this process's control groups have left for all processes, in bytes; None: unknown."""
    information = Path("/proc/meminfo")
    if not information.exists():
        return None
    match = re.search(r"^MemAvailable:\s+(\d+) kB$", information.read_text(), re.MULTILINE)
    rooms = [int(match[1]) * 1024] if match else []
    groups = Path("/proc/self/cgroup").read_text() if Path("/proc/self/cgroup").exists() else ""
    return min([*rooms, *find_rooms(groups, Path("/sys/fs/cgroup"))], default=None)


def find_rooms(groups: str, root: Path) -> Iterator[int]:
    """What the limits of a process's control groups leave, and of those that these are in, in bytes.

    Args:
        groups: the content of its /proc/self/cgroup.
        root: where the groups are.
    """
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2: one tree
            tree, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            tree = root / "memory"
        else:
            continue
        own = tree / path.lstrip("/")
        rooms = (_room(group, *names) for group in (own, *own.parents) if group.is_relative_to(tree))
        yield from (room for room in rooms if room is not None)


def _room(group: Path, limit_name: str, used_name: str, cached_name: str) -> int | None:
    """What a control group's limit leaves; files in the page cache make room."""
    limit, used, statistics = (group / name for name in (limit_name, used_name, "memory.stat"))
    if not (limit.exists() and used.exists()) or not (most := limit.read_text().strip()).isdigit():
        return None
    cached = re.search(rf"^{cached_name} (\d+)$", statistics.read_text(), re.MULTILINE) if statistics.exists() else None
    return int(most) - int(used.read_text()) + (int(cached[1]) if cached else 0)


def peak_device_memory(device: torch.device) -> int | None:
    """The most that this process's tensors have taken of its GPU at once, in bytes; None without one."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


class DeviceMemory:
    """The peaks of a GPU's memory between one reading and the next; nothing on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._peak = 0

    def since_last(self) -> int | None:
        """The most that this process's tensors have taken since the last reading, in bytes; None without a GPU."""
        if self._device.type != "cuda":
            return None
        peak = torch.cuda.max_memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        self._peak = max(self._peak, peak)
        return peak

    def peak(self) -> int:
        """The most of all; 0 without a GPU."""
        return max(self._peak, self.since_last() or 0)


def _status(name: str) -> int | None:
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    match = re.search(rf"^{name}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
