"""Log-likelihoods of token sequences under a causal model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

IGNORED = -100


@dataclass(frozen=True)
class Window:
    """A sequence of token ids, shape `(time + 1,)`, whose last `scored` tokens are scored given those before."""

    ids: np.ndarray
    scored: int

    def __post_init__(self) -> None:
        assert 0 < self.scored < len(self.ids)


@torch.inference_mode()
def log_likelihoods(model: Any, windows: Sequence[Window], batch_tokens: int, title: str) -> np.ndarray:
    """The summed log-likelihood of each window's scored tokens, in nats, shape `(windows,)`.

    Windows are taken longest first, as many rows at once as fit into `batch_tokens`
    of padded input (at least one), so that the shapes of the batches depend on the
    windows alone. Rows are padded on the right, where a causal model can't look. The
    logits are made only where a row of the batch is scored, and summed in float64.
    """
    result = np.empty(len(windows))
    with tqdm(total=len(windows), desc=title, unit="window", disable=None, leave=False) as bar:
        for batch in batches([len(window.ids) - 1 for window in windows], batch_tokens):
            result[batch] = _score(model, [windows[index] for index in batch])
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


def _score(model: Any, windows: list[Window]) -> np.ndarray:
    width = max(len(window.ids) for window in windows) - 1
    inputs = np.zeros((len(windows), width), dtype=np.int64)
    targets = np.full((len(windows), width), IGNORED, dtype=np.int64)
    for row, window in enumerate(windows):
        time = len(window.ids) - 1
        inputs[row, :time] = window.ids[:-1]
        targets[row, time - window.scored : time] = window.ids[time + 1 - window.scored :]
    kept = width - min(len(window.ids) - 1 - window.scored for window in windows)
    device = model.device
    logits = model(input_ids=torch.from_numpy(inputs).to(device), logits_to_keep=kept, use_cache=False).logits
    losses = functional.cross_entropy(  # (rows * kept,)
        logits.float().flatten(0, 1),
        torch.from_numpy(targets[:, width - kept :]).to(device).flatten(),
        ignore_index=IGNORED,
        reduction="none",
    )
    return -losses.view(len(windows), kept).double().sum(dim=1).cpu().numpy()
