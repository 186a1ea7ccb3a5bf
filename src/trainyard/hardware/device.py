"""What a process computes on; apart from its peak, which concerns no training."""

import torch

from trainyard.hardware.cpu import processor_name


def device_name(device: torch.device) -> str:
    """What the machine calls the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
