"""What the trainer finds out when it starts, for progress and summary."""

from typing import Any

from trainyard.config.shapes import flops_per_token, parameters
from trainyard.data.loader import Loader
from trainyard.parallel import group
from trainyard.parallel.peaks import MFU_FORMULA, peak
from trainyard.train.specification import Specification


def found_at_start(specification: Specification, loader: Loader) -> dict[str, Any]:
    """Steps, parameters and the parts of the MFU: the content of started.json.

    A token of the MFU's formula is a position that is read and predicted. An
    encoder-decoder reads other tokens than it predicts: it gets no MFU.
    """
    found: dict[str, Any] = {"steps": loader.steps, "parameters": parameters(specification.model)}
    if specification.model.sequence_to_sequence:
        return found
    most = peak(group.device(specification.device), specification.precision)
    return found | {
        "flops_per_token": flops_per_token(specification.model, specification.train.sequence_length),
        "mfu_formula": MFU_FORMULA,
        "peak_flops": most.flops,
        "peak_source": most.source,
    }
