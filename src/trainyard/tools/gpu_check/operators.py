"""The operators and kernels that take most of the time of a step, as torch's profiler tells them."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile


def find_slowest(step: Callable[[], object], steps: int, number: int) -> dict[str, Any]:
    """Profile `steps` calls of `step`.

    Returns:
        `operators`: the `number` that took most of the device's time by themselves, and after them, on a GPU, as
        many of its kernels. Each has name, kind (operator, kernel), calls and milliseconds (a step), and share: its
        part of `busy_milliseconds`, the time of a step in which the device computed (kernels one after the other).
    """
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            step()
    return rank(profiler.key_averages(), steps, number, torch.cuda.is_available())


def rank(averages: Iterable[FunctionEventAvg], steps: int, number: int, on_gpu: bool) -> dict[str, Any]:
    """What `find_slowest` returns, of the averages of a profiler."""
    real = [each for each in averages if not each.is_user_annotation]
    operators = [each for each in real if each.device_type == DeviceType.CPU]
    kernels = [each for each in real if each.device_type == DeviceType.CUDA]
    busy = sum(_microseconds(each, on_gpu) for each in (kernels if on_gpu else operators))
    rows = []
    for kind, entries in (("operator", operators), ("kernel", kernels)):
        slowest = sorted(entries, key=lambda each: -_microseconds(each, on_gpu))[:number]
        rows += [
            {
                "name": each.key,
                "kind": kind,
                "calls": each.count / steps,
                "milliseconds": _microseconds(each, on_gpu) / steps / 1e3,
                "share": _microseconds(each, on_gpu) / busy if busy else 0.0,
            }
            for each in slowest
            if _microseconds(each, on_gpu) > 0
        ]
    return {"operators": rows, "busy_milliseconds": busy / steps / 1e3}


def _microseconds(event: FunctionEventAvg, on_gpu: bool) -> float:
    return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)
