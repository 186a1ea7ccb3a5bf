"""The loss of a slice of logits and its gradient, which takes the logits' place."""

import functools
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._triton import has_triton

_ROWS_IN_CACHE = 8


def softmax_loss(
    logits: Tensor, targets: Tensor, vocabulary: int, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The losses (rows, 1), and their gradient of the logits: softmax minus what is wanted of each token.

    Args:
        logits: (rows, `vocabulary` or more), of which those beyond are padding.
        targets: (rows, 1).
        vocabulary: how many tokens there are.
        label_smoothing: the part of 1 that is wanted of all tokens alike, instead of the target alone (Szegedy et al.
            2016, section 7).
    """
    columns = torch.arange(logits.shape[1], device=logits.device)
    if logits.shape[1] > vocabulary:
        logits = logits.masked_fill(columns >= vocabulary, -torch.inf)
    scores = torch.log_softmax(logits, dim=1, dtype=torch.float32)
    losses, slope = -scores.gather(1, targets), scores.exp() - (columns == targets).float() * (1 - label_smoothing)
    if label_smoothing:
        losses = _smooth(losses, scores[:, :vocabulary], label_smoothing)
        slope = slope - (columns < vocabulary) * (label_smoothing / vocabulary)
    return losses, slope.to(logits.dtype)


def softmax_loss_in_place(
    logits: Tensor, targets: Tensor, vocabulary: int, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """As `softmax_loss`, in place of the logits: on a GPU in one compiled kernel where there is a compiler."""
    on_cpu = logits.device.type == "cpu"
    if not on_cpu and _can_compile():
        return _compiled()(logits, targets, vocabulary, label_smoothing), logits
    logits[:, vocabulary:].fill_(-torch.inf)
    if on_cpu:
        return _by_blocks(logits, targets, vocabulary, label_smoothing)
    return _softmax_loss_eager(logits, targets, vocabulary, label_smoothing), logits


def _by_blocks(logits: Tensor, targets: Tensor, vocabulary: int, label_smoothing: float) -> tuple[Tensor, Tensor]:
    """By as few rows as a CPU's cache holds."""
    blocks = zip(logits.split(_ROWS_IN_CACHE), targets.split(_ROWS_IN_CACHE), strict=True)
    losses = [_softmax_loss_eager(rows, columns, vocabulary, label_smoothing) for rows, columns in blocks]
    return torch.cat(losses), logits


def _softmax_loss_eager(logits: Tensor, targets: Tensor, vocabulary: int, label_smoothing: float) -> Tensor:
    scores = torch.log_softmax(logits, dim=1, dtype=torch.float32)
    losses = -scores.gather(1, targets)
    if label_smoothing:
        losses = _smooth(losses, scores[:, :vocabulary], label_smoothing)
    wanted = scores.new_full((1, 1), label_smoothing - 1).expand_as(targets)
    slope = scores.exp_().scatter_add_(1, targets, wanted)
    if label_smoothing:
        slope[:, :vocabulary].sub_(label_smoothing / vocabulary)
    logits.copy_(slope)
    return losses


def _smooth(losses: Tensor, scores: Tensor, label_smoothing: float) -> Tensor:
    return losses * (1 - label_smoothing) - scores.mean(1, keepdim=True) * label_smoothing


def _overwrite(logits: Tensor, targets: Tensor, vocabulary: int, label_smoothing: float) -> Tensor:
    losses, gradient = softmax_loss(logits, targets, vocabulary, label_smoothing)
    logits.copy_(gradient)
    return losses


@functools.cache
def _compiled() -> Callable[[Tensor, Tensor, int, float], Tensor]:
    """Two reads of a logit and one write: 6 bytes in bf16, where the operators one by one move 20 to 28."""
    return torch.compile(_overwrite)


@functools.cache
def _can_compile() -> bool:
    """Whether Triton's kernels can be built: it compiles a little C against Python's headers for each."""
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    return has_triton() and headers.exists() and any(shutil.which(name) for name in ("cc", "gcc", "clang"))
