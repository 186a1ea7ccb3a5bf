"""provenance.json: what a result came from."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainyard.parallel.processor import processor_name
from trainyard.train.work import versions

REPOSITORY = Path(__file__).resolve().parents[3]
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE", "DS_ACCELERATOR")


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def repository() -> dict[str, Any]:
    """The commit of this code, and whether files differ from it; None where there is no git repository of its own."""
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != REPOSITORY:
        return {"commit": None, "dirty": None}
    return {"commit": _git("rev-parse", "HEAD"), "dirty": bool(_git("status", "--porcelain"))}


def hardware(device_name: str | None) -> dict[str, Any]:
    """The machine, without its name.

    Args:
        device_name: the accelerator, as the trainer found it; None if there is none.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "platform": platform.platform(),
        "cpu": processor_name(),
        "gpu": device_name,
        "cores": usable,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def provenance(
    started: str,
    command: Sequence[str],
    inputs: dict[str, str],
    code: str,
    threads: int,
    device_name: str | None,
    python: str = sys.executable,
) -> dict[str, Any]:
    """The content of provenance.json.

    Args:
        started: when the job began, from `now`.
        command: how it was called.
        inputs: the hash of each input.
        code: the hash of the training code.
        threads: of each process.
        device_name: the accelerator, or None.
        python: the interpreter that trained.
    """
    environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return {
        **repository(),
        "versions": versions(python),
        **hardware(device_name),
        "command": list(command),
        "inputs": inputs,
        "code": code,
        "environment": environment | {"OMP_NUM_THREADS": str(threads)},
        "started": started,
        "ended": now(),
    }
