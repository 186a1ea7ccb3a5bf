"""Whether this process may lock as much memory as an extension is going to."""

import re
import resource
from pathlib import Path

_CAP_IPC_LOCK = 14


def require_lockable(amount: int) -> None:
    """Check that `amount` bytes may be locked: DeepSpeed aborts the process where they may not.

    Raises:
        MemoryError: they may not.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit == resource.RLIM_INFINITY or amount <= limit or _is_exempt():
        return
    raise MemoryError(
        f"swap buffers lock {amount / 2**20:,.0f} MiB of memory, and a process may lock {limit / 2**20:,.0f} MiB here "
        "(`ulimit -l`; memlock in /etc/security/limits.conf): a smaller option sub_group needs less"
    )


def _is_exempt() -> bool:
    """Whether the limit is not for this process (CAP_IPC_LOCK, such as root has)."""
    status = Path("/proc/self/status")
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status.read_text(), re.MULTILINE) if status.exists() else None
    return bool(found) and bool(int(found[1], 16) >> _CAP_IPC_LOCK & 1)
