"""What a device could do at most: the denominator of model FLOPs utilisation (MFU)."""

import re
import time
from dataclasses import dataclass

import torch

from trainyard.config.catalogue import Precision
from trainyard.hardware.cpu import processor_name

MFU_FORMULA = "tokens/s x (6 N + 12 L h Q T) / (processes x peak)"
SIDES = (64, 256, 1024)
MEASURE_SECONDS = 0.5


@dataclass(frozen=True)
class Peak:
    """The most that one process's device computes, in FLOP/s, and where the figure comes from."""

    flops: float
    source: str


_DATASHEET = "NVIDIA's datasheet"
_AMPERE, _ADA, _BLACKWELL = (
    f"NVIDIA's whitepaper on {chip}, accumulated in fp32"
    for chip in ("the GA102 (Ampere)", "the Ada architecture", "RTX Blackwell")
)
# A pattern of the device's name, where the figures are, and TFLOP/s of dense matrix products in fp32 and in half
# precision (bf16 and fp16; Volta and Turing know no bf16). fp32 is without TF32, which is off. GeForce cards run at
# half their rate where products of fp16 are summed in fp32, as torch does. The first that fits counts.
_DEVICES: list[tuple[str, str, float | None, float, bool]] = [
    (r"B200\b", _DATASHEET, None, 2250.0, True),
    (r"GH200\b", _DATASHEET, 67.0, 989.4, True),
    (r"H[12]00 NVL\b", _DATASHEET, 60.0, 835.5, True),
    (r"H100 PCIe\b", _DATASHEET, 51.2, 756.0, True),
    (r"H[12]00\b", _DATASHEET, 66.9, 989.4, True),
    (r"A[18]00\b", _DATASHEET, 19.5, 312.0, True),
    (r"A40\b", _DATASHEET, 37.4, 149.7, True),
    (r"A30\b", _DATASHEET, 10.3, 165.0, True),
    (r"A10\b", _DATASHEET, 31.2, 125.0, True),
    (r"A2\b", _DATASHEET, 4.5, 18.0, True),
    (r"RTX A6000$", _DATASHEET, 38.7, 154.8, True),
    (r"RTX 6000 Ada\b", _DATASHEET, 91.1, 364.2, True),
    (r"L40S\b", _DATASHEET, 91.6, 362.0, True),
    (r"L40\b", _DATASHEET, 90.5, 181.0, True),
    (r"L4\b", _DATASHEET, 30.3, 121.0, True),
    (r"T4\b", _DATASHEET, 8.1, 65.0, False),
    (r"V100S\b", _DATASHEET, 16.4, 130.0, False),
    (r"V100-PCIE\b", _DATASHEET, 14.0, 112.0, False),
    (r"V100-SXM", _DATASHEET, 15.7, 125.0, False),
    (r"RTX 3090$", _AMPERE, 35.6, 71.0, True),
    (r"RTX 3090 Ti$", _AMPERE, 40.0, 80.0, True),
    (r"RTX 3070$", _AMPERE, 20.3, 40.6, True),
    (r"RTX 4090$", _ADA, 82.6, 165.2, True),
    (r"RTX 4080$", _ADA, 48.7, 97.5, True),
    (r"RTX 5090$", _BLACKWELL, 104.8, 209.5, True),
]


def peak(device: torch.device, precision: Precision) -> Peak:
    """The peak of this process's device: by datasheet, or measured where there is none.

    A measured one is the best product of two square matrices with this process's
    threads. Call it while nothing else computes.
    """
    if device.type == "cuda":
        return _of_datasheet(torch.cuda.get_device_name(device), precision) or measured_peak(device, precision)
    return measured_peak(device, precision)


def _of_datasheet(name: str, precision: Precision) -> Peak | None:
    if " MIG " in name:  # a slice of a device, of which there are many sizes
        return None
    for pattern, source, full, half, knows_bf16 in _DEVICES:
        if re.search(rf"\b{pattern}", name):
            teraflops = full if precision == "fp32" else half if knows_bf16 or precision == "fp16" else None
            return Peak(teraflops * 1e12, f"{source}, dense ({name}, {precision})") if teraflops else None
    return None


def device_name(device: torch.device) -> str:
    """What the machine calls the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor_name()


def measured_peak(device: torch.device, precision: Precision) -> Peak:
    """The best rate of a product of two square matrices of any of SIDES in the precision's data type.

    Of a type that a processor has no instructions for, small products are the quicker ones.
    """
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    rates = {side: 2 * side**3 / _shortest_product(side, dtype, device) for side in SIDES}
    side = max(SIDES, key=lambda side: rates[side])
    where = "" if device.type == "cuda" else f", {torch.get_num_threads()} threads"
    return Peak(rates[side], f"measured here: the best {side} x {side} product in {precision}{where}")


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
