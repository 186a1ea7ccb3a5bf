"""The NVIDIA GPUs that this process may use, found out without torch."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"
_DRIVER = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Gpu:
    """One device, or a part of one.

    Attributes:
        name: what CUDA_VISIBLE_DEVICES calls it: a number, a UUID, or the UUID of a part (MIG).
        place: its address on the bus, the same whatever it is called; of a part, its name.
    """

    name: str
    place: str


def find_gpus() -> list[Gpu] | None:
    """The GPUs of CUDA_VISIBLE_DEVICES, under the names that it gives them, or else all that the driver shows.

    Numbers are counted in the order of the bus, as CUDA does for GPUs of one kind.

    Returns:
        None where no driver shows any, as on a cluster's login node.
    """
    folders = sorted(_DRIVER.iterdir()) if _DRIVER.is_dir() else []
    if not folders:
        return None
    names = os.environ.get(VARIABLE)
    if names is None:
        return [Gpu(str(number), folder.name) for number, folder in enumerate(folders)]
    devices: dict[str, Gpu] = {}
    for name in map(str.strip, names.split(",")):
        device_path = _find_device(name, folders)
        if device_path is None:
            break  # CUDA too takes those before the first that there is not
        devices.setdefault(device_path, Gpu(name, device_path))
    return list(devices.values())


def read_gpu_models() -> list[str]:
    """What the driver calls each of its devices, in the order of the bus."""
    folders = sorted(_DRIVER.iterdir()) if _DRIVER.is_dir() else []
    return [_read_field(folder, "Model") for folder in folders]


def _find_device(name: str, folders: list[Path]) -> str | None:
    """Where the device of this name is; None if there is no such device."""
    if name.isdecimal():
        return folders[int(name)].name if int(name) < len(folders) else None
    if name.startswith("GPU-"):
        # the driver tells no UUID of a device that nothing has used yet
        return next((folder.name for folder in folders if _read_field(folder, "GPU UUID").startswith(name)), name)
    return name if name.startswith("MIG-") else None


def _read_field(folder: Path, what: str) -> str:
    """What the driver says of a device; "" where it doesn't tell."""
    information = folder / "information"
    match = re.search(rf"{what}:\s*(.+)", information.read_text()) if information.is_file() else None
    return match[1].strip() if match else ""
