"""What a device could do at most: the denominator of model FLOPs utilisation (MFU)."""

import time
from dataclasses import dataclass

import torch

from trainyard.config.catalogue import Precision
from trainyard.parallel.processor import processor_name

MFU_FORMULA = "tokens/s x (6 N + 12 L h Q T) / (processes x peak)"
SIDE = 1024
MEASURE_SECONDS = 0.5


@dataclass(frozen=True)
class Peak:
    """The most that one process's device computes, in FLOP/s, and where the figure comes from."""

    flops: float
    source: str


_NVIDIA = "NVIDIA's datasheet, dense"
_HALF = ("bf16", "fp16")
# The first whose name is part of the device's; TFLOP/s of matrix products. fp32 is without TF32, which is off.
_DEVICES: list[tuple[str, dict[str, float]]] = [
    ("H100 PCIe", {"fp32": 51.2} | dict.fromkeys(_HALF, 756.0)),
    ("H100", {"fp32": 66.9} | dict.fromkeys(_HALF, 989.4)),
    ("H200", {"fp32": 66.9} | dict.fromkeys(_HALF, 989.4)),
    ("A100", {"fp32": 19.5} | dict.fromkeys(_HALF, 312.0)),
    ("V100-PCIE", {"fp32": 14.0, "fp16": 112.0}),
    ("V100", {"fp32": 15.7, "fp16": 125.0}),
    ("T4", {"fp32": 8.1, "fp16": 65.0}),
]


def peak(device: torch.device, precision: Precision) -> Peak:
    """The peak of this process's device: by datasheet, or measured where there is none.

    A measured one is the best product of two square matrices with this process's
    threads. Call it while nothing else computes.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for part, figures in _DEVICES:
            if part in name and precision in figures:
                return Peak(figures[precision] * 1e12, f"{_NVIDIA} ({part}, {precision})")
    return measured_peak(device, precision)


def device_name(device: torch.device) -> str:
    """What the machine calls the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor_name()


def measured_peak(device: torch.device, precision: Precision) -> Peak:
    """The best rate of a product of two matrices of SIDE x SIDE in the precision's data type."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    left = torch.rand(SIDE, SIDE, device=device).to(dtype)
    right = torch.rand(SIDE, SIDE, device=device).to(dtype)
    best, until = float("inf"), time.perf_counter() + MEASURE_SECONDS
    while best == float("inf") or time.perf_counter() < until:
        start = time.perf_counter()
        torch.mm(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    where = "" if device.type == "cuda" else f", {torch.get_num_threads()} threads"
    return Peak(2 * SIDE**3 / best, f"measured here: the best {SIDE} x {SIDE} product in {precision}{where}")
