"""What the machine can do, found out without torch, so that a dry run stays quick."""

import functools
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from packaging.requirements import Requirement

from trainyard.config.catalogue import ParallelSetting, Precision
from trainyard.core.python_environment import find_framework, find_spaced_path, inspect_interpreter, package_version
from trainyard.estimate.families import load_family
from trainyard.estimate.families.base import Split
from trainyard.hardware.gpus import find_gpus

Device = Literal["cpu", "cuda"]

# in whose processes no matrix, gradient or moment is in parts
_WHOLE_MATRICES = ("single", "ddp", "pipeline")
_NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})
# `tensor` splits modules by names that adapters change; no test holds ColossalAI's plugins to what adapters learn
_ADAPTERS = ("single", "ddp", "zero1", "fsdp", "pipeline", "deepspeed")


def find_device() -> Device:
    """`cuda` where an NVIDIA driver runs and shows this process a GPU, else `cpu`."""
    return "cuda" if find_gpus() else "cpu"


@functools.cache
def has_compiler() -> bool:
    """Whether a C++ compiler is on the path, for extensions built at first use."""
    return any(shutil.which(name) for name in ("c++", "g++", "clang++"))


@functools.cache
def has_library(name: str) -> bool:
    """Whether extensions can be built against a C library: its header is where compilers look."""
    named = [
        folder for variable in ("CPATH", "CPLUS_INCLUDE_PATH") for folder in os.environ.get(variable, "").split(":")
    ]
    folders = [*filter(None, named), "/usr/local/include", "/usr/include"]
    return any(Path(folder, f"{name}.h").is_file() for folder in folders)


@functools.cache
def _requirement(entry: str) -> Requirement:
    return Requirement(entry)


@dataclass(frozen=True)
class Machine:
    """Where jobs run.

    Attributes:
        device: what configuration or the driver names.
        interpreters: the Python of a framework that has an environment of its own.
    """

    device: Device
    interpreters: Mapping[str, str] = field(default_factory=dict)

    def capabilities(
        self, setting: ParallelSetting, compiled: bool, environment: dict[str, str] | None = None, lora: bool = False
    ) -> dict[str, Any]:
        """The facts that a run's parallel setting depends on; a change of one reruns the run.

        Args:
            setting: from the catalogue.
            compiled: whether the run goes through torch.compile.
            environment: the pins of the conda environment that the job runs in, where conda
                is on and no interpreter is named: this interpreter's packages say nothing then.
            lora: whether it trains adapters, which peft makes.
        """
        names = [_requirement(entry).name for entry in setting.packages] + ["peft"] * lora
        python = self.interpreters.get(find_framework(setting.packages) or "")
        if python:
            names += ["torch", "transformers"]
            versions = {name: package_version(name, python) for name in names}
        elif environment is not None:
            versions = {name: environment.get(name) for name in names}
        else:
            versions = {name: package_version(name) for name in names}
        facts: dict[str, Any] = {"device": self.device, "packages": dict(sorted(versions.items()))}
        if setting.compiler or compiled:
            facts["compiler"] = has_compiler()
            if (
                environment is None and not inspect_interpreter(python or sys.executable).has_headers
            ):  # conda's are there
                facts["python_headers"] = False
        if setting.compiler and (path := find_spaced_path(python or sys.executable)):
            facts["spaced_path"] = path
        if setting.libraries:
            facts["libraries"] = {name: has_library(name) for name in sorted(setting.libraries)}
        return facts


def explain_unsupported(
    setting: ParallelSetting,
    family: str,
    precision: Precision,
    processes: int,
    capabilities: dict[str, Any],
    train: Mapping[str, Any] = _NO_SETTINGS,
    cluster: bool = False,
) -> str | None:
    """Why a run can't be done here, or None: first what holds on every machine.

    The number of GPUs is no capability: a run doesn't depend on those that it leaves idle. On a cluster
    those of this machine say nothing: SLURM gives a job what it asks for.

    Args:
        setting: the catalogue's entry.
        family: of the model.
        precision: that it trains in.
        processes: of the whole run.
        capabilities: of the machine, by `Machine.capabilities`.
        train: the settings of the training, as a specification has them.
        cluster: whether it runs on a cluster's node.
    """
    return (
        explain_never_supported(setting, family, precision, processes, train)
        or _explain_not_installed(setting, capabilities)
        or _explain_not_built(capabilities)
        or _explain_no_device(setting, precision, processes, capabilities["device"], cluster)
        or ("tf32 needs an NVIDIA GPU, none here" if train.get("tf32") and capabilities["device"] == "cpu" else None)
    )


def explain_never_supported(
    setting: ParallelSetting,
    family: str,
    precision: Precision,
    processes: int,
    train: Mapping[str, Any] = _NO_SETTINGS,
) -> str | None:
    """Why a run can't be done on any machine, or None; arguments as of `explain_unsupported`."""
    copy = setting.tensor * setting.pipeline
    if reason := never_of_family(setting, family):
        return reason
    if precision not in setting.precision:
        return f"does not train in {precision} (it does in {', '.join(setting.precision)})"
    if setting.one_process and processes > 1:
        return f"runs in one process, not in {processes}"
    if processes % copy:
        return f"needs a multiple of {copy} processes, not {processes}"
    return _explain_settings(setting.engine, train)


def _explain_settings(engine: str, train: Mapping[str, Any]) -> str | None:
    """Why an engine can't train with these settings, or None."""
    if "lora" in train and engine not in _ADAPTERS:
        return f"does not train adapters (lora); the engines {', '.join(_ADAPTERS)} do"
    if "attention" in train and engine == "colossalai":
        return (
            "does not train within a window of attention, which needs transformers 5; ColossalAI's environment has 4.51"
        )
    if "optimizer" in train and engine not in _WHOLE_MATRICES:
        whole = ", ".join(_WHOLE_MATRICES)
        return f"does not train with {train['optimizer']}, which steps whole matrices; the engines {whole} do"
    return None


def never_of_family(setting: ParallelSetting, family: str) -> str | None:
    """Why a family's models can't be spread so in any precision, over any number of processes, or None."""
    if setting.families is not None and family not in setting.families:
        return f"does not spread {family} models (it does {', '.join(setting.families)})"
    # the engines of these names ask a family's file how to split a model
    if setting.engine in get_args(Split) and setting.engine not in load_family(family).splits:
        file = f"src/trainyard/estimate/families/{family}.py"
        return f"can't split {family} models: splits of {file} lacks {setting.engine!r}"
    return None


def _explain_not_installed(setting: ParallelSetting, capabilities: dict[str, Any]) -> str | None:
    versions = capabilities["packages"]
    missing = [package for package, version in versions.items() if version is None]
    if missing:
        return f"needs the package{_s(missing)} {', '.join(missing)}, not installed here"
    for needed in map(_requirement, setting.packages):
        if not needed.specifier.contains(versions[needed.name], prereleases=True):
            return f"needs {needed}, {versions[needed.name]} here"
    return None


def _explain_not_built(capabilities: dict[str, Any]) -> str | None:
    if not capabilities.get("compiler", True):
        return "needs a C++ compiler (g++ or clang++), not found here"
    if not capabilities.get("python_headers", True):
        return "needs Python's headers (Python.h; on Debian and Ubuntu the package python3-dev), not found here"
    if path := capabilities.get("spaced_path"):
        return f"builds a C++ extension, which torch can't link in a path with spaces ({path})"
    absent = [name for name, present in capabilities.get("libraries", {}).items() if not present]
    if absent:
        return f"needs the header{_s(absent)} of {', '.join(absent)}, not found here"
    return None


def _explain_no_device(
    setting: ParallelSetting, precision: Precision, processes: int, device: Device, cluster: bool
) -> str | None:
    if device == "cuda":
        devices = None if cluster else find_gpus()
        return None if devices is None or len(devices) >= processes else f"needs {processes} GPUs, {len(devices)} here"
    if setting.gpu:
        return "needs an NVIDIA GPU, none here"
    if precision in setting.gpu_precision:
        others = [each for each in setting.precision if each not in setting.gpu_precision]
        return f"{precision} needs a GPU" + (f": on CPUs it trains in {' or '.join(others)}" if others else "")
    return None


def _s(things: Iterable[object]) -> str:
    return "s" if len(list(things)) > 1 else ""
