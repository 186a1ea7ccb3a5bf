"""The machine that a job ran on, without its name, and the packages that it ran with."""

import os
import platform
import sys
from typing import Any

from trainyard.gpus import gpu_models
from trainyard.interpreter import interpreter, package_version
from trainyard.parallel.processor import processor_name

TRAINING = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "deepspeed", "colossalai")
PACKAGES = (
    *TRAINING,
    *("datasets", "evaluate", "rouge-score", "nltk", "tiktoken", "pyarrow", "scipy", "matplotlib", "seaborn"),
)
VARIABLES = ("MKL_NUM_THREADS", "NVIDIA_TF32_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG", "DS_ACCELERATOR")


def hardware(device: str | None) -> dict[str, Any]:
    """What the machine is.

    Args:
        device: what the job computed on; its GPUs are named for `cuda` alone.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "platform": platform.platform(),
        "cpu": processor_name(),
        "gpu": ", ".join(dict.fromkeys(gpu_models())) or None if device == "cuda" else None,
        "cores": usable,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def loaded() -> list[str]:
    """The packages on which a result can depend that this process has loaded."""
    return [name for name in PACKAGES if name.replace("-", "_") in sys.modules]


def versions(names: list[str], python: str = sys.executable) -> dict[str, str | None]:
    """The versions of an interpreter and of packages; None: not installed."""
    return {"python": interpreter(python).version, **{name: package_version(name, python) for name in names}}


def variables() -> dict[str, str]:
    """The variables of the environment on which results depend."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}
