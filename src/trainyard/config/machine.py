"""What the machine can do, found out without torch, so that a dry run stays quick."""

import functools
import importlib.metadata
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from trainyard.config.catalogue import ParallelSetting, Precision

Device = Literal["cpu", "cuda"]

_GPUS = Path("/proc/driver/nvidia/gpus")


def find_device() -> Device:
    """`cuda` where an NVIDIA driver runs, else `cpu`."""
    return "cuda" if count_gpus() else "cpu"


def count_gpus() -> int | None:
    """How many GPUs an NVIDIA driver shows; None where there is none, as on a cluster's login node."""
    return len(list(_GPUS.iterdir())) or None if _GPUS.is_dir() else None


@functools.cache
def package_version(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def has_compiler() -> bool:
    """Whether a C++ compiler is on the path, for extensions built at first use."""
    return any(shutil.which(name) for name in ("c++", "g++", "clang++"))


@dataclass(frozen=True)
class Machine:
    """Where jobs run: the device that configuration or the driver names, and its packages.

    `environment` holds the pins of the conda environment that the job runs in, where
    conda is on: then the packages of this interpreter say nothing.
    """

    device: Device

    def capabilities(
        self, setting: ParallelSetting, compiled: bool, environment: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """The facts that a run's parallel setting depends on; a change of one reruns the run."""
        versions = {
            package: environment.get(package) if environment is not None else package_version(package)
            for package in sorted(setting.packages)
        }
        facts: dict[str, Any] = {"device": self.device, "packages": versions}
        if setting.compiler or compiled:
            facts["compiler"] = has_compiler()
        return facts


def unsupported(
    setting: ParallelSetting, precision: Precision, processes: int, capabilities: dict[str, Any]
) -> str | None:
    """Why a run can't be done here, or None.

    The number of GPUs is no capability: a run doesn't depend on those that it leaves idle.
    """
    missing = [package for package, version in capabilities["packages"].items() if version is None]
    if missing:
        return f"needs the package{_s(missing)} {', '.join(missing)}, not installed here"
    if not capabilities.get("compiler", True):
        return "needs a C++ compiler (g++ or clang++), not found here"
    if precision == "fp16" and capabilities["device"] == "cpu":
        return "fp16 needs a GPU: CPUs train in fp32 or bf16"
    if precision not in setting.precision:
        return f"does not train in {precision} (it does in {', '.join(setting.precision)})"
    return _too_many(setting, processes, capabilities["device"])


def _too_many(setting: ParallelSetting, processes: int, device: Device) -> str | None:
    if setting.one_process and processes > 1:
        return f"runs in one process, not in {processes}"
    gpus = count_gpus() if device == "cuda" else None
    if gpus is not None and gpus < processes:
        return f"needs {processes} GPUs, {gpus} here"
    return None


def _s(things: Iterable[object]) -> str:
    return "s" if len(list(things)) > 1 else ""


def pins(environment: Path) -> dict[str, str]:
    """The packages that a conda environment file pins (`name=1.0`, and `name==1.0` under pip), with versions."""
    dependencies = yaml.safe_load(environment.read_text(encoding="utf-8"))["dependencies"]
    lines = [line for entry in dependencies for line in (entry["pip"] if isinstance(entry, dict) else [entry])]
    return dict(re.split("==?", line, maxsplit=1) for line in lines if "=" in line)
