"""The peaks of known GPUs, and model FLOPs utilisation (MFU), of which a peak is the denominator; without torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainyard.config.catalogue import Precision


@dataclass(frozen=True)
class Peak:
    """The most that one process's device computes.

    Attributes:
        flops: in FLOP/s.
        source: where the figure comes from.
        rates: what each repeat of a measurement came to, in FLOP/s; none of a datasheet's.
    """

    flops: float
    source: str
    rates: tuple[float, ...] = ()


_DATASHEET = "NVIDIA's datasheet"
_AMPERE, _ADA, _BLACKWELL = (
    f"NVIDIA's whitepaper on {chip}, accumulated in fp32"
    for chip in ("the GA102 (Ampere)", "the Ada architecture", "RTX Blackwell")
)
_HGX, _H20 = "NVIDIA's page of HGX B300, an eighth of it", "NVIDIA's specification for HGX H20"
_CLOCK = "NVIDIA's cores and boost clock, by the whitepaper on the Ada architecture, accumulated in fp32"
# Left to be measured, since sources conflict or none tells a dense rate with sums in fp32: the A10G (NVIDIA's sheet
# for AWS has 35 and 70 TFLOP/s, others the A10's), the GB200 (2,250 to 2,640), fp32 of B200 and B300 (37 to 80), the
# P100 in fp16 (its 18.7 and 21.2 are with sums in fp16), the RTX PRO 6000 as Max-Q and for servers.
# A pattern of the device's name, where the figures are, and TFLOP/s of dense matrix products in fp32 and in half
# precision (bf16 and fp16; Volta and Turing know no bf16). fp32 is without TF32, which is off. GeForce cards run at
# half their rate where products of fp16 are summed in fp32, as torch does. The first that fits counts.
_DEVICES: list[tuple[str, str, float | None, float | None, bool]] = [
    (r"B300\b", _HGX, None, 2250.0, True),
    (r"B200\b", _DATASHEET, None, 2250.0, True),
    (r"GH200\b", _DATASHEET, 67.0, 989.4, True),
    (r"H[12]00 NVL\b", _DATASHEET, 60.0, 835.5, True),
    (r"H100 PCIe\b", _DATASHEET, 51.2, 756.0, True),
    (r"H[12]00\b", _DATASHEET, 66.9, 989.4, True),
    (r"H20\b", _H20, 44.0, 148.0, True),
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
    (r"RTX 3080$", _AMPERE, 29.8, 59.5, True),  # of 10 GB; that of 12 GB, of the same name, has 3 % more
    (r"RTX 3070$", _AMPERE, 20.3, 40.6, True),
    (r"RTX 4090$", _ADA, 82.6, 165.2, True),
    (r"RTX 4090 D$", _CLOCK, 73.5, 147.1, True),
    (r"RTX 4080$", _ADA, 48.7, 97.5, True),
    (r"RTX 4070$", _ADA, 29.1, 58.3, True),
    (r"RTX 5090$", _BLACKWELL, 104.8, 209.5, True),
    (r"RTX PRO 6000 Blackwell Workstation Edition$", _BLACKWELL, 126.0, 503.8, True),
    (r"Quadro RTX 8000$", _DATASHEET, 16.3, 130.5, False),
    (r"P100-SXM2", _DATASHEET, 10.6, None, False),
    (r"P100-PCIE", _DATASHEET, 9.3, None, False),
]


def find_datasheet_peak(name: str, precision: Precision) -> Peak | None:
    """The peak of a GPU by its name; None where its datasheet isn't known, or has no such precision."""
    if " MIG " in name:  # a slice of a device, of which there are many sizes
        return None
    for pattern, source, full, half, knows_bf16 in _DEVICES:
        if re.search(rf"\b{pattern}", name):
            teraflops = full if precision == "fp32" else half if knows_bf16 or precision == "fp16" else None
            return Peak(teraflops * 1e12, f"{source}, dense ({name}, {precision})") if teraflops else None
    return None


def compute_mfu(flops: float | None, device_name: str | None, peak: Mapping[str, Any] | None) -> dict[str, Any]:
    """The MFU of one process: its FLOP/s over the peak of the device that it ran on.

    A GPU of another kind than the peak's has its own datasheet's; nothing else than the peak's own kind of device is
    divided by what was measured there.

    Args:
        flops: what the model needs, in FLOP/s of one process; None where that isn't known.
        device_name: what it ran on.
        peak: the content of a file of `results/peaks/`.

    Returns:
        `mfu`, `mfu_reason` (why there is none), `peak_flops`, `peak_source`.
    """
    nothing = {"mfu": None, "mfu_reason": None, "peak_flops": None, "peak_source": None}
    if flops is None or peak is None:
        return nothing
    found = Peak(peak["flops"], peak["source"])
    if device_name != peak["device_name"]:
        own = find_datasheet_peak(device_name or "", peak["precision"]) if peak["device"] == "cuda" else None
        if own is None:
            reason = f"it ran on {device_name or 'an unknown device'}, and the peak is of {peak['device_name']}"
            return nothing | {"mfu_reason": reason}
        found = own
    return {"mfu": flops / found.flops, "mfu_reason": None, "peak_flops": found.flops, "peak_source": found.source}
