"""What the trainer finds out when it starts, for progress and summary."""

from typing import Any

import torch

from trainyard.config.shapes import parameters
from trainyard.data.loader import Loader
from trainyard.train.specification import Specification


def found_at_start(specification: Specification, loader: Loader) -> dict[str, Any]:
    """Steps, parameters, device and the parts of the MFU: the content of started.json."""
    return {
        "steps": loader.steps,
        "parameters": parameters(specification.model),
        "device_name": torch.cuda.get_device_name() if specification.device == "cuda" else None,
    }
