"""The machine that a job ran on, without its name, and the packages that it ran with."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

from trainyard.core.files import sha256_file
from trainyard.core.python_environment import TRAINING
from trainyard.hardware.cpu import processor_name
from trainyard.hardware.gpus import read_gpu_models

PACKAGES = (
    *TRAINING,
    *("datasets", "evaluate", "rouge-score", "nltk", "tiktoken", "pyarrow", "scipy", "matplotlib", "seaborn"),
)
VARIABLES = ("MKL_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG", "DS_ACCELERATOR")


def describe_hardware(device: str | None) -> dict[str, Any]:
    """What the machine is.

    Args:
        device: what the job computed on; its GPUs are named for `cuda` alone.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "platform": platform.platform(),
        "cpu": processor_name(),
        "gpu": ", ".join(dict.fromkeys(read_gpu_models())) or None if device == "cuda" else None,
        "cores": usable,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def loaded_packages() -> list[str]:
    """The packages on which a result can depend that this process has loaded."""
    return [name for name in PACKAGES if name.replace("-", "_") in sys.modules]


def conda_environment(environments: Path, prefix: str = sys.prefix) -> dict[str, str | None] | None:
    """Which file the conda environment of this process was made from; None outside those of Snakemake's.

    Snakemake keeps a copy of an environment's file beside its folder.

    Args:
        environments: the folder of the files.
        prefix: the folder of the environment.

    Returns:
        `file`, in its folder, and `sha256`; `file` is None if none there has this content by now.
    """
    copy = Path(f"{prefix}.yaml")
    if not copy.is_file():
        return None
    sha256 = sha256_file(copy)
    files = (file for file in sorted(environments.glob("*.yaml")) if sha256_file(file) == sha256)
    return {"file": next((f"{environments.name}/{file.name}" for file in files), None), "sha256": sha256}


def environment_variables() -> dict[str, str]:
    """The variables of the environment on which results depend."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}
