"""Linear layers on a CPU by oneDNN, with weights laid out for it once."""

import platform
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

ROWS = 512  # what the layout of the weights is made for; other numbers of rows use it too
DTYPES = (torch.float32, torch.bfloat16)


class PackedLinear(nn.Module):
    """A linear layer that multiplies by oneDNN: `(..., inputs)` to `(..., outputs)`, without gradients.

    By default torch gives float32 products to MKL, which on AMD's processors leaves half
    of the vector unit unused: on a Zen 5 oneDNN is 2.3 times as fast. These are the
    operators that torch's own compiler emits for a frozen linear layer.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), ROWS)
        self.bias = None if bias is None else bias.detach()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Project the last axis."""
        return torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, "none", [], "")


def can_pack(device: str, dtype: torch.dtype) -> bool:
    """Whether a model there and of that type is packed: on the processors that oneDNN's operators are for.

    Those for bfloat16 need instructions (AVX-512 or AVX-NE-CONVERT) that not every x86 processor has.
    """
    x86 = platform.machine() in ("x86_64", "AMD64")
    if not (x86 and torch.backends.mkldnn.is_available() and device == "cpu" and dtype in DTYPES):
        return False
    return dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


@torch.inference_mode()
def pack(model: Any) -> None:
    """Put a packed layer in the place of every linear layer of a model, which can then compute forwards alone."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, PackedLinear(child.weight, child.bias))
            elif type(child) is Conv1D:
                setattr(parent, name, PackedLinear(child.weight.T, child.bias))
