"""Whether what a study asks for has room in the memory that there is: a warning at the dry run, by arithmetic alone."""

import functools
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from trainyard.estimate.memory import Prediction, predict_execution
from trainyard.plan.runs import Execution

_GIB = 2**30
_REMEDIES = {
    "parameters": "a setting that shares them (fsdp, zero3), or more processes",
    "gradients": "a setting that shares them (fsdp, zero2), or more processes",
    "optimizer": "a setting that shares its state (fsdp, zero1, zero2), or more processes",
    "activations": "a smaller micro-batch, or shorter sequences",
    "buffers": "a smaller micro-batch, or smaller buckets",
}


def warn_of_memory(executions: Iterable[Execution], available: int | None = None) -> list[str]:
    """A warning for each run and cell that is predicted to need more memory than there is.

    Args:
        executions: runs, probes and cells. Those that nothing is known of, such as a search for the largest
            batch, are left out.
        available: bytes of one device, or of the machine where CPUs compute; what is found here by default.

    Returns:
        A line each: what it is, what a process needs and what there is, the largest part and a remedy.
    """
    warnings = []
    for execution in executions:
        specification = execution.specification
        available_bytes = available_memory(specification["device"]) if available is None else available
        predicted = predict_execution(specification)
        if available_bytes is None or predicted is None:
            continue
        # the processes of a run on CPUs share one machine
        together = specification["processes"] if predicted.kind == "host" else 1
        if predicted.total * together > available_bytes:
            checkpointing = specification["train"]["activation_checkpointing"]
            warnings.append(
                f"{execution.study}/{execution.name}: "
                f"{_format_warning(predicted, together, available_bytes, checkpointing)}"
            )
    return warnings


def host_memory(specification: Mapping[str, Any]) -> int | None:
    """Bytes of host memory that a process is to need; None on a GPU, or where it can't be told."""
    predicted = predict_execution(specification) if specification["device"] == "cpu" else None
    return round(predicted.total) if predicted else None


@functools.cache
def available_memory(device: Literal["cpu", "cuda"]) -> int | None:
    """Bytes of the smallest GPU here, or of this machine's memory; None where nothing tells."""
    if device == "cpu":
        return _machine_memory()
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    sizes = [int(line) for line in output.split("\n") if line.strip().isdigit()]
    return min(sizes) * 2**20 if sizes else None


def _machine_memory() -> int | None:
    """What the machine has, or what its control group may have of it."""
    information = Path("/proc/meminfo")
    limits = (
        re.search(r"^MemTotal:\s+(\d+) kB$", information.read_text(), re.MULTILINE) if information.exists() else None
    )
    sizes = [int(limits[1]) * 1024] if limits else []
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        sizes.append(int(text))
    return min(sizes, default=None)


def _format_warning(predicted: Prediction, together: int, available: int, checkpointing: bool) -> str:
    parts = {name: getattr(predicted, name) for name in _REMEDIES}
    largest = max(parts, key=lambda name: parts[name])
    where = "this machine" if predicted.kind == "host" else "a GPU"
    needs = f"{predicted.total / _GIB:.1f} GiB" + (f" in each of {together} processes" if together > 1 else "")
    more = ", or activation_checkpointing: true" if largest == "activations" and not checkpointing else ""
    return (
        f"will need about {needs}, and {where} has {available / _GIB:.1f} GiB; "
        f"most of it for {largest} ({parts[largest] / _GIB:.1f} GiB): try {_REMEDIES[largest]}{more}"
    )
