"""Causal attention without a mask, for models that are trained on whole rows of tokens."""

from importlib.util import find_spec
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

MASKLESS = "causal_without_mask"
"""The name of `attend` among transformers' attentions. It stands in no registry of masks, and so it is given none."""

# below 5, as ColossalAI's own environment has it, BART takes none of four dimensions, and T5 adds one as it is
_TAKES_MADE_MASKS = int(transformers.__version__.partition(".")[0]) >= 5


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, **arguments: Any
) -> tuple[Tensor, None]:
    """Attention of each position to itself and those before it, by torch's kernels for just that.

    transformers' own `sdpa` looks into each batch for rows that hold several sequences, for which the host waits
    for the device. A compiler can't look, so that there it makes a mask (batch, 1, time, time), which no kernel of
    flash attention takes.

    Args:
        module: the layer.
        query: (batch, heads, time, head_width).
        key: (batch, key_value_heads, time, head_width).
        value: as `key`.
        attention_mask: None.
        arguments: others of transformers' `sdpa`.

    Returns:
        (batch, time, heads, head_width), and None in place of the weights.
    """
    assert attention_mask is None, "attention without a mask was given one"
    return sdpa_attention_forward(module, query, key, value, None, **{**arguments, "is_causal": True})


def maskless() -> str | None:
    """The name of `attend`; None where transformers (below 4.53) has no registry of masks to leave it out of."""
    if find_spec("transformers.masking_utils") is None:
        return None
    from transformers import AttentionInterface  # noqa: PLC0415

    AttentionInterface.register(MASKLESS, attend)
    return MASKLESS


def mask_padding(mask: Tensor, queries: int) -> Tensor | None:
    """What positions of a source may be attended to, (batch, 1, queries, source), of a mask (batch, source).

    None where nothing is padded, if that is known: only a CPU's values are there to be read. Elsewhere the host
    would wait for the device, as it does where transformers makes its mask from one of two dimensions: `mask` itself,
    where it takes no other.
    """
    if not _TAKES_MADE_MASKS:
        return mask
    on_host = mask.device.type == "cpu" and not torch.compiler.is_compiling()
    if on_host and mask.numpy().all():
        return None
    return mask.bool()[:, None, None, :].expand(-1, 1, queries, -1)


def mask_future(tokens: Tensor) -> Tensor | None:
    """Which positions of tokens (batch, time) may be attended to: (1, 1, time, time).

    None to a compiler, for which no decoder of transformers makes a mask of ones and looks whether it is, and where
    transformers makes them all.
    """
    if torch.compiler.is_compiling() or not _TAKES_MADE_MASKS:
        return None
    time = tokens.shape[1]
    return torch.ones(time, time, dtype=torch.bool, device=tokens.device).tril()[None, None]
