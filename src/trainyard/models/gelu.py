"""GPT-2's GELU, by one kernel."""

import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import NewGELUActivation


class GELU(NewGELUActivation):
    """The approximation by tanh (Hendrycks and Gimpel 2016), `gelu_new` of transformers.

    Written out it is eight elementwise operators, with a power that CUDA's autocast raises in fp32. torch's kernel
    rounds otherwise in the last bits.
    """

    def forward(self, input: Tensor) -> Tensor:
        """As `input`."""
        return F.gelu(input, approximate="tanh")


def fuse_gelu(model: nn.Module) -> None:
    """Let each `gelu_new` of a model be a `GELU`; its configuration keeps the name."""
    for module in model.modules():
        if type(module) is NewGELUActivation:
            module.__class__ = GELU
