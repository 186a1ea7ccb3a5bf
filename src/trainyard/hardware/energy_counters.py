"""Counters of energy that a machine shows: of NVIDIA GPUs by NVML, of processors by RAPL; without torch.

NVML is the library of NVIDIA's driver, called as it is: no package is needed for it.
"""

import ctypes
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
_NVML = ("libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1")


class CounterError(Exception):
    """There is no such counter, or it can't be read; the message says why."""


def advance(last: int, now: int, range_: int | None = None) -> int:
    """By how much a counter has grown since the last reading.

    Args:
        last: what it showed then.
        now: what it shows.
        range_: where it begins at 0 again; None: nowhere but when its driver is loaded anew.
    """
    if now >= last:
        return now - last
    return now if range_ is None else now + range_ - last


@dataclass(frozen=True)
class _Zone:
    counter: Path
    range_: int


class PackageCounters:
    """The energy of all processors of a machine, and of its memory where that has a counter of its own.

    By Linux's powercap (RAPL of Intel's and AMD's processors). A processor's cores are part of its package, and
    `psys`, which some machines have, holds it too: they are left out.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        """Find the counters and read them once.

        Raises:
            CounterError: there are none, or this user may not read them.
        """
        zones = [folder for folder in sorted(root.glob("intel-rapl:*")) if _is_package_or_memory(folder)]
        if not zones:
            raise CounterError("this machine shows no energy counter of its processor (RAPL)")
        try:
            self._zones = [_Zone(zone / "energy_uj", int(_read(zone / "max_energy_range_uj"))) for zone in zones]
            self._last = [int(_read(zone.counter)) for zone in self._zones]
        except (OSError, ValueError) as error:
            raise CounterError(f"the energy counter of the processor can't be read: {error}") from None
        self._microjoules = 0

    def joules(self) -> float:
        """Since the making of this object. Read it before a counter has gone around twice: within some minutes.

        Raises:
            CounterError: a counter can't be read any more.
        """
        try:
            now = [int(_read(zone.counter)) for zone in self._zones]
        except (OSError, ValueError) as error:
            raise CounterError(f"the energy counter of the processor can't be read: {error}") from None
        self._microjoules += sum(map(advance, self._last, now, [zone.range_ for zone in self._zones]))
        self._last = now
        return self._microjoules / 1e6


def _is_package_or_memory(folder: Path) -> bool:
    with suppress(OSError):
        return re.match(r"package|dram$", _read(folder / "name")) is not None
    return False


def _read(file: Path) -> str:
    return file.read_text(encoding="ascii").strip()


class _Utilisation(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class GpuCounters:
    """The energy and the utilisation of some GPUs, each whole."""

    def __init__(self, names: Sequence[str]) -> None:
        """Find the GPUs and read their counters once.

        Args:
            names: as in CUDA_VISIBLE_DEVICES: numbers in the order of the bus, or UUIDs.

        Raises:
            CounterError: there is no driver, no such GPU, or no counter (before Volta, and of a part of a GPU).
        """
        if any(name.startswith("MIG-") for name in names):
            raise CounterError("a part of a GPU (MIG) has no energy counter of its own")
        self._library = _load_nvml()
        self._call("nvmlInit_v2")
        try:
            self._devices = [self._find(name) for name in names]
            self._last = self._millijoules()
        except CounterError:
            self.close()
            raise
        self._sum = 0

    def joules(self) -> float:
        """Of all of them since the making of this object.

        Raises:
            CounterError: a counter can't be read any more.
        """
        now = self._millijoules()
        self._sum += sum(map(advance, self._last, now))
        self._last = now
        return self._sum / 1e3

    def utilisation(self) -> float:
        """The share of the last moments (1/6 to 1 s) in which a kernel ran, as a mean over the GPUs.

        Raises:
            CounterError: it can't be read.
        """
        rates = []
        for device in self._devices:
            found = _Utilisation()
            self._call("nvmlDeviceGetUtilizationRates", device, ctypes.byref(found))
            rates.append(found.gpu / 100)
        return sum(rates) / len(rates)

    def close(self) -> None:
        """Let go of the driver."""
        self._library.nvmlShutdown()

    def _find(self, name: str) -> ctypes.c_void_p:
        device = ctypes.c_void_p()
        if name.isdecimal():
            self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(int(name)), ctypes.byref(device))
        else:
            self._call("nvmlDeviceGetHandleByUUID", ctypes.c_char_p(name.encode()), ctypes.byref(device))
        return device

    def _millijoules(self) -> list[int]:
        counts = []
        for device in self._devices:
            count = ctypes.c_ulonglong()
            self._call("nvmlDeviceGetTotalEnergyConsumption", device, ctypes.byref(count))
            counts.append(count.value)
        return counts

    def _call(self, function: str, *arguments: object) -> None:
        try:
            status = getattr(self._library, function)(*arguments)
        except AttributeError:
            raise CounterError(f"NVIDIA's driver is too old: it has no {function}") from None
        if status:
            self._library.nvmlErrorString.restype = ctypes.c_char_p
            raise CounterError(f"{function}: {self._library.nvmlErrorString(status).decode()}")


def _load_nvml() -> ctypes.CDLL:
    for name in _NVML:
        with suppress(OSError):
            return ctypes.CDLL(name)
    raise CounterError("NVIDIA's driver shows no energy counter (libnvidia-ml.so.1 is not there)")
