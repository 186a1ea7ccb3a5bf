"""The peak of this process's device: by its datasheet, or measured."""

import math
import time

import torch

from trainyard.config.catalogue import Precision
from trainyard.hardware.device import device_name
from trainyard.hardware.peak_flops import Peak, find_datasheet_peak

SIDES = {"cpu": (64, 256, 1024), "cuda": (8192,)}
"""Of the products: on a CPU of what fits its caches too, since of a type that it has no instructions for these are the
quicker ones; on a GPU large, since a small one leaves most of it idle."""
MEASURE_SECONDS = 0.5
REPEATS = 5
_FEWEST_AT_ONCE = 10
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def find_peak(device: torch.device, precision: Precision) -> Peak:
    """The peak of this process's device: by datasheet, or measured where there is none.

    A measured one is the best product of two square matrices with this process's threads. Call it while nothing else
    computes.
    """
    known = find_datasheet_peak(device_name(device), precision) if device.type == "cuda" else None
    return known or measure_peak(device, precision)


def measure_peak(device: torch.device, precision: Precision) -> Peak:
    """The best rate of a product of two square matrices of any of SIDES in the precision's data type.

    The best of REPEATS measurements, since whatever else a machine does takes from a rate and adds nothing.
    """
    sides, time_product = SIDES[device.type], _time_on_gpu if device.type == "cuda" else _time_on_cpu
    dtype = _DTYPES[precision]
    repeats = [
        max((2 * side**3 / time_product(side, dtype, device, MEASURE_SECONDS / len(sides)), side) for side in sides)
        for _ in range(REPEATS)
    ]
    if device.type == "cuda":
        torch.cuda.empty_cache()  # for whoever measures memory next
    flops, side = max(repeats)
    threads = torch.get_num_threads()
    where = "" if device.type == "cuda" else f", {threads} thread{'' if threads == 1 else 's'}"
    source = f"measured: the best {side} x {side} product in {precision}{where}, of {REPEATS} repeats"
    return Peak(flops, source, tuple(rate for rate, _ in repeats))


def _time_on_cpu(side: int, dtype: torch.dtype, device: torch.device, seconds: float) -> float:
    """The seconds of the shortest of as many products as `seconds` hold."""
    left, right = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    best, until = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < until:
        start = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - start)
    return best


def _time_on_gpu(side: int, dtype: torch.dtype, device: torch.device, seconds: float) -> float:
    """The seconds of a product, as the mean of many in one queue: the host's calls and its waiting don't count."""
    left, right, product = (torch.rand(side, side, device=device).to(dtype) for _ in range(3))

    def time_products(number: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        stream = torch.cuda.current_stream(device)
        start.record(stream)
        for _ in range(number):
            torch.mm(left, right, out=product)
        end.record(stream)
        end.synchronize()
        return start.elapsed_time(end) / 1000 / number

    one = time_products(2)  # which chooses the kernel, and raises the clock
    return time_products(count_products(one, seconds))


def count_products(one: float, seconds: float) -> int:
    """How many products are queued at once: as many as take `seconds` where one takes `one`, but not few."""
    return max(_FEWEST_AT_ONCE, math.ceil(seconds / one))
