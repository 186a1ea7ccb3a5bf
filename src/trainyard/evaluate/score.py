"""Log-likelihoods of token sequences under a causal model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm


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
def log_likelihoods(model: Any, queries: Sequence[Query], batch_tokens: int, title: str) -> np.ndarray:
    """The summed log-likelihood of each continuation of each query in turn, in nats, shape `(continuations,)`.

    The continuations of a query share one row: each sees the context and itself, at
    the positions it would have alone. Rows are taken longest first, as many at once
    as fit into `batch_tokens` when padded (at least one), so that the shapes of the
    batches depend on the queries alone. Padding stands on the right, where a causal
    model can't look. Sums are in float64.
    """
    offsets = np.cumsum([0, *(len(query.continuations) for query in queries)])
    result = np.empty(offsets[-1])
    with tqdm(total=len(queries), desc=title, unit="row", disable=None, leave=False) as bar:
        for batch in batches([query.width for query in queries], batch_tokens):
            places = np.concatenate([np.arange(offsets[index], offsets[index + 1]) for index in batch])
            result[places] = _score(model, [queries[index] for index in batch])
            bar.update(len(batch))
    return result


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices by falling length, in groups of as many as fit into `batch_tokens` when padded."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + rows]
        start += rows


def _score(model: Any, queries: list[Query]) -> np.ndarray:
    width = max(query.width for query in queries)
    ids, positions, segments = (np.zeros((len(queries), width), dtype=np.int64) for _ in range(3))
    scored: list[tuple[int, int, int, int]] = []  # (row, place of the logits, target, continuation)
    owner = 0
    for row, query in enumerate(queries):
        time = end = len(query.context)
        ids[row, :time], positions[row, :time] = query.context, np.arange(time)
        for segment, tokens in enumerate(query.continuations, 1):
            place, end = end, end + len(tokens) - 1
            ids[row, place:end], segments[row, place:end] = tokens[:-1], segment
            positions[row, place:end] = np.arange(time, time + len(tokens) - 1)
            places = (time - 1, *range(place, end))
            scored.extend((row, here, target, owner) for here, target in zip(places, tokens.tolist(), strict=True))
            owner += 1
        segments[row, end:] = -1
    rows, places, targets, owners = np.array(scored).T
    kept = width - int(places.min())
    device = model.device
    shared = owner > len(queries)
    logits = model(
        input_ids=torch.from_numpy(ids).to(device),
        position_ids=torch.from_numpy(positions).to(device) if shared else None,
        attention_mask=_mask(torch.from_numpy(segments).to(device), model.dtype) if shared else None,
        logits_to_keep=kept,
        use_cache=False,
    ).logits
    chosen = logits[torch.from_numpy(rows).to(device), torch.from_numpy(places - width + kept).to(device)]  # (n, words)
    losses = functional.cross_entropy(chosen.float(), torch.from_numpy(targets).to(device), reduction="none")
    return -np.bincount(owners, losses.double().cpu().numpy(), minlength=owner)


def _mask(segments: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What each place may look at, shape `(rows, 1, time, time)`: nothing later, in the context or its own segment."""
    time = segments.shape[1]
    earlier = torch.ones(time, time, dtype=torch.bool, device=segments.device).tril()
    near = (segments[:, None, :] == 0) | (segments[:, None, :] == segments[:, :, None])
    blocked = ~(earlier & near)
    return torch.zeros_like(blocked, dtype=dtype).masked_fill_(blocked, torch.finfo(dtype).min)[:, None]
