"""The NVIDIA GPUs that this process may use, found out without torch."""

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"
_DRIVER = Path("/proc/driver/nvidia/gpus")
_SLICES = Path("/proc/driver/nvidia/capabilities")
_OF_WSL = "/usr/lib/wsl/lib"  # where Windows puts nvidia-smi, on no path of some shells
_SECONDS = 60


@dataclass(frozen=True)
class Gpu:
    """One device, or a part of one.

    Attributes:
        name: what CUDA_VISIBLE_DEVICES calls it: a number, a UUID, or the UUID of a part (MIG).
        place: its address on the bus, the same whatever it is called (its UUID where no driver's folder tells the
            address); of a part, its name.
    """

    name: str
    place: str


@dataclass(frozen=True)
class Device:
    """A GPU as the driver shows it.

    Attributes:
        place: as of `Gpu`.
        model: what NVIDIA calls it.
        uuid: `GPU-...`; question marks where nothing has used it yet.
        slices: the UUIDs of the parts that it is divided into (MIG).
    """

    place: str
    model: str
    uuid: str
    slices: tuple[str, ...] = ()


def find_gpus() -> list[Gpu] | None:
    """The GPUs of CUDA_VISIBLE_DEVICES, under the names that it gives them, or else all that the driver shows.

    Numbers are counted in the order of the bus, as CUDA does for GPUs of one kind. Of a GPU that is divided the
    parts count.

    Returns:
        None where no driver shows any, as on a cluster's login node.
    """
    shown = _list_devices()
    if not shown:
        return None
    names = os.environ.get(VARIABLE)
    if names is None:
        return [gpu for number, device in enumerate(shown) for gpu in _parts(str(number), device)]
    devices: dict[str, Gpu] = {}
    for name in map(str.strip, names.split(",")):
        place = _find_place(name, shown)
        if place is None:
            break  # CUDA too takes those before the first that there is not
        devices.setdefault(place, Gpu(name, place))
    return list(devices.values())


def read_gpu_models() -> list[str]:
    """What the driver calls each of its devices, in the order of the bus."""
    return [device.model for device in _list_devices()]


def see_own_slice(number: int) -> int:
    """Where this process was given a part of a GPU (MIG) among others, let it see that of its number alone.

    CUDA shows a process no more than one part, the first that is named, and no GPU beside it. Call it before CUDA
    starts.

    Args:
        number: of this process among those on its machine.

    Returns:
        The number by which CUDA calls this process's device.
    """
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    if not any(name.startswith("MIG-") for name in names) or number >= len(names):
        return number
    os.environ[VARIABLE] = names[number]
    return 0


def parse_listing(text: str) -> list[Device]:
    """The devices that `nvidia-smi -L` prints."""
    devices: list[Device] = []
    for line in text.splitlines():
        if match := re.match(r"GPU \d+: (.+) \(UUID: (GPU-[^)]+)\)", line):
            devices.append(Device(match[2], match[1], match[2]))
        elif devices and (match := re.match(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)", line)):
            last = devices.pop()
            devices.append(Device(last.place, last.model, last.uuid, (*last.slices, match[1])))
    return devices


@functools.cache
def ask_nvidia_smi(*arguments: str) -> str:
    """What nvidia-smi prints; "" where there is none, or it fails."""
    program = shutil.which("nvidia-smi", path=os.pathsep.join([os.environ.get("PATH", os.defpath), _OF_WSL]))
    if program is None:
        return ""
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True, timeout=_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _list_devices() -> Sequence[Device]:
    """By the driver's folder; where there is none (WSL, sandboxes), or parts, which it doesn't name, by nvidia-smi."""
    folders = sorted(_DRIVER.iterdir()) if _DRIVER.is_dir() else []
    if not folders or any(_SLICES.glob("gpu*/mig/gi*")):
        listed = parse_listing(ask_nvidia_smi("-L"))
        if listed:
            return listed
    return [Device(folder.name, _read_field(folder, "Model"), _read_field(folder, "GPU UUID")) for folder in folders]


def _parts(name: str, device: Device) -> list[Gpu]:
    return [Gpu(part, part) for part in device.slices] or [Gpu(name, device.place)]


def _find_place(name: str, devices: Sequence[Device]) -> str | None:
    """Where the device of this name is; None if there is no such device."""
    if name.isdecimal():
        return devices[int(name)].place if int(name) < len(devices) else None
    if name.startswith("GPU-"):
        # the driver tells no UUID of a device that nothing has used yet
        return next((device.place for device in devices if device.uuid.startswith(name)), name)
    return name if name.startswith("MIG-") else None


def _read_field(folder: Path, what: str) -> str:
    """What the driver says of a device; "" where it doesn't tell."""
    information = folder / "information"
    match = re.search(rf"{what}:\s*(.+)", information.read_text()) if information.is_file() else None
    return match[1].strip() if match else ""
