"""Attention within a window: which positions a position sees, computed in blocks, so that cost grows with the length.

A decoder's position sees itself and the `window - 1` before it, the sliding window of Mistral 7B (Jiang et al. 2023),
as `sliding_window` of transformers counts it. An encoder's sees `window // 2` on either side, as in Longformer
(Beltagy et al. 2020, section 3.1). What a decoder reads of an encoder it sees whole.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PretrainedConfig

from trainyard.models.window_flex import attend_by_flex, has_flex
from trainyard.models.window_shape import find_reach, is_visible, spread_bias

KEY = "attention_window"
"""The key of config.json that holds the window."""
WINDOW = "window"
"""The name of `attend` among transformers' attentions, which gets transformers' masks of padding."""
MASKLESS_WINDOW = "window_without_mask"
"""The same for training: it stands in no registry of masks, so that none is made whose size is the length squared."""


def attend_in_window(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    window: int,
    *,
    causal: bool,
    real: Tensor | None = None,
    bias: Tensor | None = None,
    dropout: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """What dense attention gives under `is_visible`, in memory and time that grow with the length.

    Queries are cut into blocks of `window`, and each block is given its own keys and those that its ends reach,
    `window` more at most; of two blocks the whole square is computed. On a GPU FlexAttention does so in one kernel,
    where there is no dropout, which it has not.

    Args:
        query: (batch, heads, time, head_width).
        key: as `query`.
        value: as `query`.
        window: how many positions a decoder's sees.
        causal: whether it is a decoder.
        real: which positions are no padding, (batch, time).
        bias: what is added to scores by the distance of key and query, (1, heads, distances), from the farthest
            before to the farthest after.
        dropout: the rate.
        scale: of the scores; 1 / sqrt(head_width) by default.

    Returns:
        (batch, heads, time, head_width). A padded position sees itself, so that each sees one.
    """
    rows, time, (before, after) = len(query), query.shape[2], find_reach(window, causal)
    sees_all = time <= max(before, after) + 1  # or all before it
    if sees_all and causal and real is None and bias is None:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=scale, is_causal=True)
    if not sees_all and not dropout and has_flex(query):
        return attend_by_flex(query, key, value, window, causal=causal, real=real, bias=bias, scale=scale)
    if time <= 2 * window:  # two blocks would be the whole square
        known = None if real is None else real[:, None, None, :]
        mask = _mask(_distances(time, time, 0, query.device), window, causal, known, bias)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scale)
    blocks, keys = -(-time // window), window + before + after
    reached = torch.ones(1, time, dtype=torch.bool, device=query.device) if real is None else real
    reached = _with_neighbours(reached[:, None, :, None], window, before, after)  # (batch or 1, blocks, 1, keys, 1)
    distance = _distances(window, keys, before, query.device)
    mask = _mask(distance, window, causal, reached.squeeze(-1)[:, :, :, None, :], bias)
    # (batch, blocks, 1 or heads, window, keys)
    mask = mask.expand(rows, *mask.shape[1:]).flatten(0, 1)
    queries = F.pad(query, (0, 0, 0, blocks * window - time)).unflatten(2, (blocks, window)).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(
        queries.flatten(0, 1),
        _with_neighbours(key, window, before, after).flatten(0, 1),
        _with_neighbours(value, window, before, after).flatten(0, 1),
        attn_mask=mask,
        dropout_p=dropout,
        scale=scale,
    )  # (batch * blocks, heads, window, head_width)
    return mixed.unflatten(0, (rows, blocks)).transpose(1, 2).flatten(2, 3)[:, :, :time]


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    position_bias: Tensor | None = None,
    window_in_mask: bool = False,
    **_others: Any,
) -> tuple[Tensor, None]:
    """`attend_in_window` as one of transformers' attentions, for models whose configuration has a window.

    Args:
        module: the layer.
        query: (batch, heads, queries, head_width).
        key: (batch, key_value_heads, keys, head_width); with a cache there are more of them than queries.
        value: as `key`.
        attention_mask: what may be seen besides, (batch, 1, queries, keys); an encoder's hides keys from all alike.
        dropout: the rate.
        scaling: of the scores.
        position_bias: T5's: as `attend_in_window` has it, or of each query and key, where there are more keys.
        window_in_mask: the mask says all that may be seen.

    Returns:
        (batch, queries, heads, head_width), and None in place of the weights.
    """
    groups = getattr(module, "num_key_value_groups", 1)
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    window, causal = getattr(module.config, KEY), module.is_causal
    crosses = not causal and getattr(module, "is_decoder", False)
    same = query.shape[2] == key.shape[2]
    if crosses or window_in_mask:
        mask = attention_mask
        if position_bias is not None:
            mask = position_bias if mask is None else torch.where(mask, position_bias, -torch.inf)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling)
    elif same and (attention_mask is None or not causal):
        real = None if attention_mask is None else attention_mask[:, 0, 0, :]
        mixed = attend_in_window(
            query, key, value, window, causal=causal, real=real, bias=position_bias, dropout=dropout, scale=scaling
        )
    else:
        # the last queries of all keys, as a cache has them, or rows that are padded before a text
        first = max(0, key.shape[2] - query.shape[2] - find_reach(window, causal)[0])
        distance = _distances(query.shape[2], key.shape[2] - first, key.shape[2] - query.shape[2] - first, key.device)
        known = None if attention_mask is None else attention_mask[..., first:]
        if same or position_bias is None:
            mask = _mask(distance, window, causal, known, position_bias)
        else:
            mask = torch.where(is_visible(distance, window, causal, known), position_bias[..., first:], -torch.inf)
        mixed = F.scaled_dot_product_attention(
            query, key[:, :, first:], value[:, :, first:], attn_mask=mask, dropout_p=dropout, scale=scaling
        )
    return mixed.transpose(1, 2).contiguous(), None


def configure_window(config: PretrainedConfig, window: int) -> None:
    """Let a model that is made of `config` be trained within a window."""
    _register()
    setattr(config, KEY, window)
    config._attn_implementation = MASKLESS_WINDOW


def use_window(model: Any) -> None:
    """Let a model that transformers has loaded attend as its config.json says: within its `attention_window`, if any.

    A configuration with a `sliding_window` needs nothing: transformers reads that itself.
    """
    if getattr(model.config, KEY, None) is None or getattr(model.config, "sliding_window", None) is not None:
        return
    _register()
    model.set_attn_implementation(WINDOW)
    cut_position_bias(model)


def find_window(config: PretrainedConfig) -> int | None:
    """The window of all layers of a configuration, ours or transformers' own; None where there is none."""
    if set(getattr(config, "layer_types", None) or ["sliding_attention"]) != {"sliding_attention"}:
        return None
    return getattr(config, KEY, None) or getattr(config, "sliding_window", None)


def cut_position_bias(model: nn.Module) -> None:
    """Let T5 make its bias for the distances within the window alone, and not for all pairs of positions."""
    from transformers.models.t5.modeling_t5 import T5Attention  # noqa: PLC0415

    class WindowedBias(T5Attention):
        """What only the first block of a stack makes, for all of them."""

        def compute_bias(
            self, query_length: int, key_length: int, device: torch.device | None = None, past_seen_tokens: int = 0
        ) -> Tensor:
            """(1, heads, distances), or (1, heads, queries, keys) where keys come from a cache."""
            if query_length != key_length:
                return super().compute_bias(query_length, key_length, device, past_seen_tokens)
            reach = find_reach(getattr(self.config, KEY), self.is_causal)
            before, after = (min(each, query_length - 1) for each in reach)
            buckets = self._relative_position_bucket(
                torch.arange(-before, after + 1, device=device),
                bidirectional=not self.is_decoder,
                num_buckets=self.relative_attention_num_buckets,
                max_distance=self.relative_attention_max_distance,
            )
            return self.relative_attention_bias(buckets).T[None]

    for module in model.modules():
        if isinstance(module, T5Attention) and module.has_relative_attention_bias:
            module.__class__ = WindowedBias


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface  # noqa: PLC0415
    from transformers.masking_utils import sdpa_mask  # noqa: PLC0415

    for name in (WINDOW, MASKLESS_WINDOW):
        AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(WINDOW, sdpa_mask)


def _distances(queries: int, keys: int, first: int, device: torch.device) -> Tensor:
    """How far after a query a key stands, (queries, keys), where the first query stands at the key `first`."""
    positions = torch.arange(keys, device=device)[None, :] - first
    return positions - torch.arange(queries, device=device)[:, None]


def _mask(distance: Tensor, window: int, causal: bool, real: Tensor | None, bias: Tensor | None) -> Tensor:
    """What torch's attention is given: what may be seen or, with a bias, the bias where it may."""
    visible = is_visible(distance, window, causal, real)
    return visible if bias is None else torch.where(visible, spread_bias(bias, distance, causal), -torch.inf)


def _with_neighbours(x: Tensor, size: int, before: int, after: int) -> Tensor:
    """(batch, heads, time, width) to (batch, blocks, heads, size + before + after, width): each block with its ends.

    Beyond the ends of `x` are zeros. `before + after` is `size` at most, so that the next block holds what is missing.
    """
    time = x.shape[2]
    blocks = -(-time // size)
    pieces = F.pad(x, (0, 0, before, (blocks + 1) * size - before - time)).unflatten(2, (blocks + 1, size))
    return torch.cat((pieces[:, :, :-1], pieces[:, :, 1:, : before + after]), dim=3).transpose(1, 2)
