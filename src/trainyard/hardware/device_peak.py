"""The peak of this process's device: by its datasheet, or measured."""

import time

import torch

from trainyard.config.catalogue import Precision
from trainyard.hardware.device import device_name
from trainyard.hardware.peak_flops import Peak, find_datasheet_peak

SIDES = (64, 256, 1024)
MEASURE_SECONDS = 0.5
REPEATS = 5


def find_peak(device: torch.device, precision: Precision) -> Peak:
    """The peak of this process's device: by datasheet, or measured where there is none.

    A measured one is the best product of two square matrices with this process's threads. Call it while nothing else
    computes.
    """
    known = find_datasheet_peak(device_name(device), precision) if device.type == "cuda" else None
    return known or measure_peak(device, precision)


def measure_peak(device: torch.device, precision: Precision) -> Peak:
    """The best rate of a product of two square matrices of any of SIDES in the precision's data type.

    The best of REPEATS measurements, since whatever else a machine does takes from a rate and adds nothing. Of a type
    that a processor has no instructions for, small products are the quicker ones.
    """
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    repeats = [
        max((2 * side**3 / _shortest_product(side, dtype, device), side) for side in SIDES) for _ in range(REPEATS)
    ]
    flops, side = max(repeats)
    where = "" if device.type == "cuda" else f", {torch.get_num_threads()} threads"
    source = f"measured: the best {side} x {side} product in {precision}{where}, of {REPEATS} repeats"
    return Peak(flops, source, tuple(rate for rate, _ in repeats))


def _shortest_product(side: int, dtype: torch.dtype, device: torch.device) -> float:
    """The seconds of the shortest of many products of two square matrices."""
    left, right = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    best, until = float("inf"), time.perf_counter() + MEASURE_SECONDS / len(SIDES)
    while best == float("inf") or time.perf_counter() < until:
        start = time.perf_counter()
        torch.mm(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best
