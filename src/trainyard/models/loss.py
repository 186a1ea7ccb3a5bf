"""The training objective: summed cross-entropy over the predicted tokens, without keeping the logits."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainyard.data.labels import IGNORE_INDEX

# logits held at one time, 128 MiB and 1 GiB in fp32: enough rows for a fast product, few enough for the memory
_LOGITS_AT_ONCE = {"cpu": 2**25, "cuda": 2**28}
_ROWS_IN_CACHE = 8


class Objective(nn.Module):
    """A model together with its loss: what engines wrap and train.

    Args:
        model: a model of transformers, or one with the same names, whose head is an `nn.Linear` without bias.
            Its head becomes a `Head`, which changes nothing for other callers.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        head = self.model.get_output_embeddings()
        assert isinstance(head, nn.Linear), f"the head of {type(model).__name__} is not an nn.Linear"
        assert head.bias is None, f"the head of {type(model).__name__} has a bias"
        head.__class__ = Head

    def forward(self, labels: Tensor, by_row: bool = False, **inputs: Tensor) -> Tensor:
        """The sum of the cross-entropy over all predicted tokens.

        Args:
            labels: the token to predict at each position, already shifted, -100 for none: (batch, time).
            by_row: sum within each row alone; gives no gradient.
            inputs: what the model reads: `input_ids` (batch, time); for an encoder-decoder `input_ids` and
                `attention_mask` (batch, source) and `decoder_input_ids` (batch, time).

        Returns:
            A scalar in fp32; by row (batch) in fp64.
        """
        hidden = self._hidden_states(inputs)  # (batch, time, width)
        return self.model.get_output_embeddings()(hidden, labels, by_row)

    def _hidden_states(self, inputs: dict[str, Tensor]) -> Tensor:
        """What the head reads. Our own call of the trunk, so that no logits are made."""
        trunk = self.model.base_model
        if trunk is not self.model:
            return trunk(**inputs).last_hidden_state
        # T5 has no trunk apart from its head, and scales what the head reads
        mask = inputs["attention_mask"]
        encoded = self.model.encoder(input_ids=inputs["input_ids"], attention_mask=mask).last_hidden_state
        decoded = self.model.decoder(
            input_ids=inputs["decoder_input_ids"], encoder_hidden_states=encoded, encoder_attention_mask=mask
        ).last_hidden_state
        return decoded * self.model.model_dim**-0.5 if self.model.config.scale_decoder_outputs else decoded


class Head(nn.Linear):
    """A head that gives logits or, when it is given labels, the summed loss.

    The loss is made inside the head's own forward, since sharded engines gather a parameter just there.
    """

    def forward(self, input: Tensor, labels: Tensor | None = None, by_row: bool = False) -> Tensor:
        """Logits (batch, time, vocabulary) or, if there are labels (batch, time), the summed loss.

        That is a scalar, or (batch) in fp64 without a gradient if it is asked for by row.
        """
        if labels is None:
            return F.linear(input, self.weight)
        hidden, targets = input.flatten(0, -2), labels.flatten()
        if by_row:
            return cross_entropies(hidden, self.weight, targets).view_as(labels).sum(1, dtype=torch.float64)
        return linear_cross_entropy(hidden, self.weight, targets)


def linear_cross_entropy(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """Summed cross-entropy of `hidden @ weight.T`, made in slices of positions.

    The gradient of each slice is made at once, in place of its logits, so that the logits of a batch, which at
    a vocabulary of 50,257 outweigh all else, never lie in memory together, and no second product makes them anew.

    Args:
        hidden: (positions, width).
        weight: (vocabulary, width).
        labels: (positions), -100 where nothing is predicted.

    Returns:
        A scalar in fp32.
    """
    if not torch.is_grad_enabled():
        return cross_entropies(hidden, weight, labels).sum()
    with torch.autocast(hidden.device.type, enabled=False):
        return _LinearCrossEntropy.apply(hidden, weight, labels, _dtype(weight))  # pyright: ignore[reportReturnType]


@torch.no_grad()
def cross_entropies(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy of each position, (positions) in fp32, zero where nothing is predicted; without a gradient.

    Arguments as of `linear_cross_entropy`.
    """
    dtype = _dtype(weight)
    with torch.autocast(hidden.device.type, enabled=False):
        return _losses_and_gradients(hidden, weight, labels, dtype, False, False)[0]


def _dtype(weight: Tensor) -> torch.dtype:
    """What products with a weight are computed in: autocast's, where it is on."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, dtype: torch.dtype) -> Tensor:
        needs_gradient = ctx.needs_input_grad
        losses, of_hidden, of_weight = _losses_and_gradients(
            hidden, weight, labels, dtype, needs_gradient[0], needs_gradient[1]
        )
        ctx.save_for_backward(of_hidden, of_weight)
        return losses.sum()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_weight = (None if g is None else g * grad_outputs[0].to(g.dtype) for g in ctx.saved_tensors)
        return of_hidden, of_weight, None, None


def _losses_and_gradients(
    hidden: Tensor, weight: Tensor, labels: Tensor, dtype: torch.dtype, for_hidden: bool, for_weight: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The loss of each position, and their sum's gradients of `hidden` and `weight` where they are wanted."""
    positions, vocabulary = hidden.shape[0], weight.shape[0]
    at_once = _LOGITS_AT_ONCE.get(hidden.device.type, _LOGITS_AT_ONCE["cuda"])
    rows = max(1, -(-positions // max(1, -(-positions * vocabulary // at_once))))
    predicted = (labels != IGNORE_INDEX).unsqueeze(1)  # (positions, 1)
    targets = labels.clamp(min=0).unsqueeze(1)  # (positions, 1)
    # where nothing is predicted the gradient of the logits should be 0: it costs least in the narrow factors
    inputs, matrix = torch.where(predicted, hidden, 0).to(dtype), weight.to(dtype)
    slope_of = _loss_and_logit_gradient if torch.compiler.is_compiling() else _loss_and_logit_gradient_in_place
    parts: list[Tensor] = []
    of_hidden: list[Tensor] = []
    of_weight: Tensor | None = None
    buffer = None
    for start in range(0, positions, rows):
        part = slice(start, start + rows)
        if torch.compiler.is_compiling():
            logits = inputs[part] @ matrix.T
        else:
            buffer = torch.empty(rows, vocabulary, dtype=dtype, device=hidden.device) if buffer is None else buffer
            logits = torch.mm(inputs[part], matrix.T, out=buffer[: min(rows, positions - start)])
        losses, slope = slope_of(logits, targets[part])
        parts.append(losses.masked_fill(~predicted[part], 0))
        if for_hidden:
            of_hidden.append(slope @ matrix)
        if for_weight:
            of_weight = _add(of_weight, slope.T @ inputs[part])
    return (
        torch.cat(parts).squeeze(1),
        torch.where(predicted, torch.cat(of_hidden), 0).to(hidden.dtype) if for_hidden else None,
        None if of_weight is None else of_weight.to(weight.dtype),
    )


def _add(total: Tensor | None, more: Tensor) -> Tensor:
    """Their sum in fp32. A call, so that no name keeps `more` while the next is made: it is as large as the weight."""
    return more.float() if total is None else total.add_(more)


def _loss_and_logit_gradient(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The losses (rows, 1), and their gradient of the logits: softmax minus one at the target."""
    scores = torch.log_softmax(logits, dim=1, dtype=torch.float32)
    one_hot = torch.arange(logits.shape[1], device=logits.device) == targets
    return -scores.gather(1, targets), (scores.exp() - one_hot.float()).to(logits.dtype)


def _loss_and_logit_gradient_in_place(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """As `_loss_and_logit_gradient`, in place of the logits, and on a CPU by as few rows as its cache holds."""
    losses = []
    for rows, columns in zip(_blocks(logits), _blocks(targets), strict=True):
        scores = torch.log_softmax(rows, dim=1, dtype=torch.float32)
        losses.append(-scores.gather(1, columns))
        minus_one = scores.new_full((1, 1), -1).expand_as(columns)
        rows.copy_(scores.exp_().scatter_add_(1, columns, minus_one))
    return torch.cat(losses), logits


def _blocks(tensor: Tensor) -> tuple[Tensor, ...]:
    return tensor.split(_ROWS_IN_CACHE) if tensor.device.type == "cpu" else (tensor,)
