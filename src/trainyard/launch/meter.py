"""What a launch takes of a node: time, CPU time, memory, and energy where a counter shows it. One meter a node.

The meter is a thread of the one process that all ranks of a node are below: the launcher's, and on several nodes that
of each node's torchrun. It knows no watts and no prices: what readings come to is the report's to say, so that another
price or another grid trains nothing again. Every few seconds, and at the end, it writes its readings anew into a file
of its own:

```
energy/
    1764511069123456789-0.json    of the launch that began at that nanosecond, of node 0
```

So an attempt that is killed loses some seconds, and the attempts of a run, however they ended, add up.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from trainyard.core.errors import InputError
from trainyard.core.files import read_json
from trainyard.hardware.energy_counters import POWERCAP, CounterError, GpuCounters, PackageCounters

FOLDER = "TRAINYARD_METER"
"""The variable that tells the tasks of other nodes where readings go."""
FIRST_SECONDS, SECONDS = 0.5, 5.0
"""Between two readings: at first, since what is short has few of them, and from then on."""
PATIENCE_SECONDS = 30.0
"""How long a launch waits for the first reading, and its end for the last."""
_REASONS = ("package_reason", "gpu_reason")


@contextmanager
def metered(
    folder: Path | None, processes: int, gpus: Sequence[str] = (), node: int = 0, powercap: Path = POWERCAP
) -> Iterator[None]:
    """Write into a file of `folder` what this process and all below it take of this node while the body runs.

    Args:
        folder: of the readings; None: nothing is read.
        processes: ranks on this node.
        gpus: those that they have, as CUDA_VISIBLE_DEVICES names them.
        node: the number of this node.
        powercap: where the kernel shows the counters of processors.
    """
    if folder is None:
        yield
        return
    file = folder / f"{time.time_ns()}-{node}.json"
    begun, done = threading.Event(), threading.Event()

    def watch() -> None:
        with ExitStack() as stack:
            stack.callback(begun.set)
            try:
                meter = _Meter(processes, gpus, node, powercap)
            except (OSError, psutil.Error) as error:  # /proc of a machine that hides the processes of others (hidepid)
                print(f"what this launch takes is not read: {error}", file=sys.stderr)
                return
            stack.callback(meter.close)
            _write(file, meter)
            begun.set()
            seconds = FIRST_SECONDS
            while not done.wait(seconds):
                _write(file, meter)
                seconds = min(SECONDS, 2 * seconds)
            _write(file, meter)

    # all of it in a thread: neither an error there nor a driver that gives no answer ends or holds up a training
    watcher = threading.Thread(target=watch, name="meter", daemon=True)
    watcher.start()
    begun.wait(PATIENCE_SECONDS)
    try:
        yield
    finally:
        done.set()
        watcher.join(PATIENCE_SECONDS)


def read_energy(folder: Path) -> dict[str, Any] | None:
    """The sum of all launches on all nodes whose readings are in a folder; None where there are none.

    Returns:
        launches: how often processes were started.
        node_seconds, device_seconds: how long, times nodes, and times ranks.
        cpu_seconds: CPU time of all processes; machine_cpu_seconds: of everything that ran on the machines meanwhile.
        memory_byte_seconds: resident memory over time; what processes share counts for each.
        package_joules: of whole processors, by their counters; null where one has none, and `package_reason` says why.
        gpu_joules: of whole GPUs, likewise.
        gpu_seconds, gpu_busy_seconds: how long GPUs were held, and how long of that a kernel ran on them.
    """
    total: dict[str, Any] | None = None
    for file in sorted(folder.glob("*.json")):
        with suppress(InputError):  # which another writer's file system has cut off
            one = read_json(file)
            total = one if total is None else _add(total, one)
    return total


def write_energy(folder: Path, energy: Mapping[str, Any] | None) -> None:
    """Leave a sum as a file of `folder`, for a training that goes on from this one; None leaves nothing."""
    if energy is not None:
        folder.mkdir()
        (folder / "energy.json").write_text(json.dumps(energy), encoding="utf-8")


def copy_energy(source: Path, folder: Path) -> None:
    """Let what another training has taken count for this one too."""
    for file in source.glob("*.json"):
        folder.mkdir(exist_ok=True)
        (folder / file.name).write_bytes(file.read_bytes())


def _add(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What is unknown of one is unknown of both."""
    reasons = {name: one[name] or other[name] for name in _REASONS}
    numbers = {name: (one[name], other[name]) for name in one if name not in _REASONS}
    return {name: None if None in pair else sum(pair) for name, pair in numbers.items()} | reasons


def _write(file: Path, meter: "_Meter") -> None:
    draft = file.with_suffix(".draft")  # which no sum reads: a launcher may be killed between the two
    # of a full disk a rank says so, if it matters; the next reading has all since the beginning
    with suppress(OSError, psutil.Error):
        file.parent.mkdir(exist_ok=True)
        draft.write_text(json.dumps(meter.read()), encoding="utf-8")
        draft.replace(file)


class _Meter:
    def __init__(self, processes: int, gpus: Sequence[str], node: int, powercap: Path) -> None:
        self._processes, self._gpus, self._node = processes, gpus, node
        self._process = psutil.Process()
        self._package_reason = self._gpu_reason = None
        self._packages = self._devices = None
        try:
            self._packages = PackageCounters(powercap)
        except CounterError as error:
            self._package_reason = str(error)
        if gpus:
            try:
                self._devices = GpuCounters(gpus)
            except CounterError as error:
                self._gpu_reason = str(error)
        self._began = self._last = time.monotonic()
        self._machine_began = _machine_cpu_seconds()
        self._cpu_began, self._memory = self._take()
        self._cpu_seconds = self._memory_byte_seconds = self._busy_seconds = 0.0

    def read(self) -> dict[str, Any]:
        """All that was taken since the beginning."""
        now = time.monotonic()
        cpu, memory = self._take()
        # a process that ends while others are looked at is missing until its parent has waited for it
        self._cpu_seconds = max(self._cpu_seconds, cpu - self._cpu_began)
        self._memory_byte_seconds += (now - self._last) * (memory + self._memory) / 2
        package_joules, gpu_joules = self._read_packages(), self._read_gpus(now - self._last)
        self._last, self._memory = now, memory
        seconds = now - self._began
        return {
            "launches": int(self._node == 0),
            "node_seconds": seconds,
            "device_seconds": seconds * self._processes,
            "cpu_seconds": self._cpu_seconds,
            "machine_cpu_seconds": _machine_cpu_seconds() - self._machine_began,
            "memory_byte_seconds": self._memory_byte_seconds,
            "package_joules": package_joules,
            "package_reason": self._package_reason,
            "gpu_joules": gpu_joules,
            "gpu_reason": self._gpu_reason,
            "gpu_seconds": seconds * len(self._gpus),
            "gpu_busy_seconds": self._busy_seconds,
        }

    def close(self) -> None:
        """Let go of the counters."""
        if self._devices:
            self._devices.close()

    def _read_packages(self) -> float | None:
        try:
            return self._packages.joules() if self._packages else None
        except CounterError as error:
            self._packages, self._package_reason = None, str(error)
            return None

    def _read_gpus(self, seconds: float) -> float | None:
        if self._devices is None:
            return None
        try:
            self._busy_seconds += seconds * len(self._gpus) * self._devices.utilisation()
            return self._devices.joules()
        except CounterError as error:
            self.close()
            self._devices, self._gpu_reason = None, str(error)
            return None

    def _take(self) -> tuple[float, int]:
        """The CPU time that this process and those below it have taken, ended ones too, and the memory they have.

        A parent is looked at before its children, so that none counts twice.
        """
        cpu, memory = 0.0, 0
        for process in (self._process, *self._process.children(recursive=True)):
            with suppress(psutil.Error):
                times = process.cpu_times()
                cpu += times.user + times.system + times.children_user + times.children_system
                memory += process.memory_info().rss
        return cpu, memory


def _machine_cpu_seconds() -> float:
    times = psutil.cpu_times()._asdict()
    return sum(times[name] for name in ("user", "nice", "system", "irq", "softirq", "steal") if name in times)


def visible_gpus(variables: Mapping[str, str], count: int) -> list[str]:
    """What CUDA_VISIBLE_DEVICES names in an environment; without it the first `count` of the bus."""
    names = variables.get("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES"))
    every = [str(number) for number in range(count)] if names is None else names.split(",")
    return [name.strip() for name in every][:count]
