"""Attention within a window by FlexAttention (Dong et al. 2024), in one compiled kernel of a GPU."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.utils._triton import has_triton

from trainyard.models.window_shape import find_blocks_of_keys, find_place, is_visible

_BLOCK = 128
_NARROWEST = 16  # heads that its products take


def has_flex(query: Tensor) -> bool:
    """Whether FlexAttention's kernels take queries: torch 2.13 has none for a CPU's gradients.

    A model that is compiled as a whole computes by blocks.
    """
    return query.is_cuda and has_triton() and query.shape[-1] >= _NARROWEST and not torch.compiler.is_compiling()


def attend_by_flex(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    window: int,
    *,
    causal: bool,
    real: Tensor | None = None,
    bias: Tensor | None = None,
    scale: float | None = None,
    attention: Callable[..., Any] | None = None,
) -> Tensor:
    """As `trainyard.models.window.attend_in_window`; `attention` takes the place of the compiled one."""

    def change(score: Tensor, row: Tensor, head: Tensor, query_at: Tensor, key_at: Tensor) -> Tensor:
        if bias is not None:
            score = score + bias[0, head, find_place(key_at - query_at, bias, causal)]
        if real is not None:
            score = torch.where(real[row, key_at] | (query_at == key_at), score, -torch.inf)
        return score

    return (attention or _compiled())(
        query,
        key,
        value,
        score_mod=change if bias is not None or real is not None else None,
        block_mask=window_blocks(query.shape[2], window, causal, query.device),
        scale=scale,
    )


@functools.lru_cache(maxsize=64)
def window_blocks(time: int, window: int, causal: bool, device: torch.device) -> BlockMask:
    """The blocks of keys that each block of queries reaches; made of the window, since a mask of all pairs is large."""

    def sees(_row: Tensor, _head: Tensor, query_at: Tensor, key_at: Tensor) -> Tensor:
        return is_visible(key_at - query_at, window, causal)

    count, indices = find_blocks_of_keys(time, _BLOCK, window, causal, device)
    return BlockMask.from_kv_blocks(
        count[None, None], indices[None, None], BLOCK_SIZE=_BLOCK, mask_mod=sees, seq_lengths=(time, time)
    )


@functools.cache
def _compiled() -> Callable[..., Any]:
    return torch.compile(flex_attention)
