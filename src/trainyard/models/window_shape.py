"""Which positions a position sees within a window, and what T5 adds to the scores of those."""

import torch
from torch import Tensor


def find_reach(window: int, causal: bool) -> tuple[int, int]:
    """How many positions before itself, and after itself, a position sees."""
    return (window - 1, 0) if causal else (window // 2, window // 2)


def is_visible(distance: Tensor, window: int, causal: bool, real: Tensor | None = None) -> Tensor:
    """Which keys a query sees.

    Args:
        distance: how far after the query the key stands, (queries, keys).
        window: how many positions a decoder's sees, itself among them.
        causal: whether it is a decoder; an encoder's sees half as many on either side.
        real: which keys are no padding, of a shape that broadcasts with `distance`; a position sees itself anyhow.
    """
    before, after = find_reach(window, causal)
    within = (distance >= -before) & (distance <= after)
    return within if real is None else within & (real | (distance == 0))


def spread_bias(bias: Tensor, distance: Tensor, causal: bool) -> Tensor:
    """A bias by distance, (1, heads, distances), for each query and key: (1, heads, queries, keys)."""
    return bias[:, :, find_place(distance, bias, causal)]


def find_place(distance: Tensor, bias: Tensor, causal: bool) -> Tensor:
    """Where in a bias by distance that of a distance stands; its last is 0 for a decoder, its middle for an encoder."""
    last = bias.shape[2] - 1
    return (distance + (last if causal else last // 2)).clamp(0, last)


def find_blocks_of_keys(time: int, size: int, window: int, causal: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each block of `size` queries, how many blocks of keys it reaches, and which, the first of them in order.

    Returns:
        (blocks) and (blocks, blocks), in which only the first columns of a row count.
    """
    before, after = find_reach(window, causal)
    blocks = -(-time // size)
    starts = torch.arange(blocks, device=device) * size
    first = torch.div(starts - before, size, rounding_mode="floor").clamp(min=0)
    last = ((starts + size - 1 + after) // size).clamp(max=blocks - 1)
    columns = torch.arange(blocks, device=device)
    indices = (first[:, None] + columns[None, :]).clamp(max=blocks - 1)
    return (last - first + 1).to(torch.int32), indices.to(torch.int32)
