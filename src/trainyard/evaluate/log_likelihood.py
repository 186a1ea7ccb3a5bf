"""Log-likelihoods of token sequences under a causal model."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import DynamicCache

from trainyard.models.window import KEY as WINDOW_KEY
from trainyard.models.window import find_window

SHARED = 32  # tokens: a shorter beginning isn't worth a pass of its own
# positions at once: what their losses are made of stays in a processor's cache, and keeps a GPU busy for a launch; each
# position is summed by itself
LOSSES = {"cpu": 64, "cuda": 1024}


@dataclass(frozen=True)
class Query:
    """A context, shape `(time,)`, and the continuations of it to score: token ids, at least one in each."""

    context: np.ndarray
    continuations: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        assert len(self.context)
        assert self.continuations
        assert all(len(continuation) for continuation in self.continuations)

    @property
    def width(self) -> int:
        """Tokens of its row: the context, and each continuation without its last token, which is a target alone."""
        return len(self.context) + sum(len(continuation) - 1 for continuation in self.continuations)


@torch.inference_mode()
def log_likelihoods(
    model: Any, queries: Sequence[Query], batch_tokens: int, scored: Callable[[int], None] = lambda queries: None
) -> np.ndarray:
    """The summed log-likelihood of each continuation of each query in turn, in nats, shape `(continuations,)`.

    A context is computed once: its continuations share a row, where each sees the
    context and itself, at the positions it would have alone. What all contexts begin
    with is computed once for all. Rows are taken longest first, as many at once as fit
    into `batch_tokens` when padded (at least one), so that the shapes of the batches
    depend only on the queries. Padding is on the right, where a causal model can't
    look. The model's head sees the scored positions alone. Sums are in float64.

    Args:
        model: of transformers, in evaluation mode.
        queries: what to score.
        batch_tokens: places of a batch.
        scored: is told how many queries each batch has finished.
    """
    offsets = np.cumsum([0, *(len(query.continuations) for query in queries)])
    result = np.empty(offsets[-1])
    prefix = _common_prefix(queries)
    cache = _read(model, prefix) if len(prefix) else None
    for batch in group_by_length([query.width - len(prefix) for query in queries], batch_tokens):
        places = np.concatenate([np.arange(offsets[index], offsets[index + 1]) for index in batch])
        result[places] = _score(model, [queries[index] for index in batch], len(prefix), cache)
        scored(len(batch))
    return result


def group_by_length(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices by falling length, in groups of as many as fit into `batch_tokens` when padded."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + rows]
        start += rows


def _common_prefix(queries: Sequence[Query]) -> np.ndarray:
    """What all contexts begin with, but for the last token of the shortest; nothing if that is little."""
    if len(queries) < 2:
        return np.empty(0, dtype=np.int64)
    length = min(len(query.context) for query in queries) - 1
    first = queries[0].context[:length]
    differing = np.flatnonzero((np.stack([query.context[:length] for query in queries]) != first).any(axis=0))
    shared = int(differing[0]) if len(differing) else length
    return first[: shared if shared >= SHARED else 0]


def _read(model: Any, prefix: np.ndarray) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values of each layer for a beginning, shapes `(1, heads, time, width)`."""
    cache: Any = DynamicCache()
    with _restrict_head(model, torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)):
        model(input_ids=torch.from_numpy(prefix)[None].to(model.device), past_key_values=cache, use_cache=True)
    return [(layer.keys, layer.values) for layer in cache.layers]


def _score(
    model: Any, queries: list[Query], start: int, cache: list[tuple[torch.Tensor, torch.Tensor]] | None
) -> np.ndarray:
    """Sums of one batch, in the order of the queries; `cache` holds the first `start` tokens of every context."""
    width = max(query.width for query in queries) - start
    ids, positions, segments = (np.zeros((len(queries), width), dtype=np.int64) for _ in range(3))
    scored: list[tuple[int, int, int, int]] = []  # (row, place of the logits, target, continuation)
    owner = 0
    for row, query in enumerate(queries):
        time = end = len(query.context) - start
        ids[row, :time], positions[row, :time] = query.context[start:], np.arange(start, start + time)
        for segment, tokens in enumerate(query.continuations, 1):
            begin, end = end, end + len(tokens) - 1
            ids[row, begin:end], segments[row, begin:end] = tokens[:-1], segment
            positions[row, begin:end] = np.arange(start + time, start + time + len(tokens) - 1)
            places = (time - 1, *range(begin, end))
            scored.extend((row, here, target, owner) for here, target in zip(places, tokens.tolist(), strict=True))
            owner += 1
        segments[row, end:] = -1
    rows, places, targets, owners = np.array(scored).T
    device = model.device
    arguments: dict[str, Any] = {"input_ids": torch.from_numpy(ids).to(device), "use_cache": cache is not None}
    if cache is not None:
        arguments["past_key_values"] = DynamicCache(
            [tuple(part.expand(len(queries), -1, -1, -1) for part in layer) for layer in cache]
        )
    if cache is not None or owner > len(queries):
        window = find_window(model.config)
        arguments["position_ids"] = torch.from_numpy(positions).to(device)
        mask = _mask(torch.from_numpy(segments).to(device), arguments["position_ids"], start, window, model.dtype)
        arguments["attention_mask"] = mask
        if hasattr(model.config, WINDOW_KEY):
            arguments["window_in_mask"] = True
    with _restrict_head(model, torch.from_numpy(rows).to(device), torch.from_numpy(places).to(device)):
        logits = model(**arguments).logits[0]  # (scored, words)
    losses = _losses(logits, torch.from_numpy(targets).to(device))
    return -np.bincount(owners, losses.double().cpu().numpy(), minlength=owner)


@contextmanager
def _restrict_head(model: Any, rows: torch.Tensor, places: torch.Tensor) -> Iterator[None]:
    """Let the model's head see these places alone, shapes `(scored,)`: logits come out as `(1, scored, words)`."""

    def pick(_: Any, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (inputs[0][rows, places][None],)

    handle = model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()


def _losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihoods, shape `(scored,)`, in float32."""
    at_once = LOSSES[logits.device.type]
    parts = zip(logits.split(at_once), targets.split(at_once), strict=True)
    return torch.cat([functional.cross_entropy(part.float(), aims, reduction="none") for part, aims in parts])


def _mask(
    segments: torch.Tensor, positions: torch.Tensor, start: int, window: int | None, dtype: torch.dtype
) -> torch.Tensor:
    """What each place may look at, shape `(rows, 1, time, start + time)`.

    The beginning of `start` tokens, and of the rest nothing later, in the context or in its own segment; of both what
    is less than a window before it by its position.
    """
    rows, time = segments.shape
    earlier = torch.ones(time, time, dtype=torch.bool, device=segments.device).tril()
    near = (segments[:, None, :] == 0) | (segments[:, None, :] == segments[:, :, None])
    mask = torch.zeros(rows, time, start + time, dtype=dtype, device=segments.device)
    mask[:, :, start:].masked_fill_(~(earlier & near), torch.finfo(dtype).min)
    if window is not None:
        beginning = torch.arange(start, device=segments.device).expand(rows, -1)
        keys = torch.cat((beginning, positions), dim=1)
        mask.masked_fill_(keys[:, None, :] <= positions[:, :, None] - window, torch.finfo(dtype).min)
    return mask[:, None]
