"""The process that finds a peak: `python -m trainyard.measure.peak_worker DEVICE PRECISION THREADS FOUND.json`."""

import sys
from pathlib import Path
from typing import cast

import torch

from trainyard.config.catalogue import Precision
from trainyard.core.files import write_json
from trainyard.hardware.device import device_name
from trainyard.hardware.device_peak import find_peak
from trainyard.hardware.tf32 import set_tf32


def main() -> None:
    """Find the peak of the device of the first argument, and write it to the last."""
    kind, precision, threads, output = sys.argv[1:]
    set_tf32(allowed=False)
    torch.set_num_threads(int(threads))
    device = torch.device(kind, 0) if kind == "cuda" else torch.device(kind)
    peak = find_peak(device, cast(Precision, precision))
    found = {"device_name": device_name(device), "flops": peak.flops, "source": peak.source, "rates": list(peak.rates)}
    write_json(Path(output), found | {"torch": str(torch.__version__)})


if __name__ == "__main__":
    main()
