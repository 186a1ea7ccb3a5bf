"""The training objective: summed cross-entropy over the predicted tokens, without keeping the logits."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainyard.data.labels import IGNORE_INDEX
from trainyard.models.attention import mask_future, mask_padding
from trainyard.models.logits import softmax_loss_in_place
from trainyard.models.window import KEY as WINDOW_KEY

Function = TypeVar("Function", bound=Callable[..., Any])

# logits held at one time, 128 MiB in fp32 on a CPU and in bf16 on a GPU: enough rows for a fast product
_LOGITS_AT_ONCE = {"cpu": 2**25, "cuda": 2**26}
# of rows and columns of logits, by the bytes of one: so products load whole vectors, and fill a GPU's or AMX's tiles
_MULTIPLE = {("cpu", 4): 1, ("cpu", 2): 64, ("cuda", 4): 128, ("cuda", 2): 128}
# whether a product of fp16 can be had in fp32: not by torch 2.5, which ColossalAI's own environment has
_SUMS_IN_FP32 = "dtype" in torch.ops.aten.mm.overloads()


class Objective(nn.Module):
    """A model together with its loss: what engines wrap and train.

    Args:
        model: a model of transformers, or one with the same names, whose head is an `nn.Linear` without bias.
            Its head becomes a `Head`, which changes nothing for other callers.
        label_smoothing: the part of 1 that is wanted of all tokens alike; losses by row are plain cross-entropies.
    """

    def __init__(self, model: nn.Module, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.model: Any = model
        head = self.model.get_output_embeddings()
        assert isinstance(head, nn.Linear), f"the head of {type(model).__name__} is not an nn.Linear"
        assert head.bias is None, f"the head of {type(model).__name__} has a bias"
        head.__class__ = Head
        self.model.get_output_embeddings().label_smoothing = label_smoothing

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
        trunk = self.model.base_model  # of T5 the model itself
        if not self.model.config.is_encoder_decoder:
            if "attention_mask" in inputs:
                raise ValueError("a decoder is trained on whole rows: attention_mask is not read")
            return trunk(**inputs).last_hidden_state
        # with masks of four dimensions, which transformers takes as they are
        source, target, mask = inputs["input_ids"], inputs["decoder_input_ids"], inputs["attention_mask"]
        encoded = trunk.encoder(input_ids=source, attention_mask=mask_padding(mask, source.shape[1])).last_hidden_state
        # within a window none is read, whose size would be the length squared
        future = None if hasattr(self.model.config, WINDOW_KEY) else mask_future(target)
        decoded = trunk.decoder(
            input_ids=target,
            attention_mask=future,
            encoder_hidden_states=encoded,
            encoder_attention_mask=mask_padding(mask, target.shape[1]),
        ).last_hidden_state
        # T5 scales what its head reads, below transformers 5 where the head is the embedding
        of_t5 = trunk is self.model
        scales = getattr(self.model.config, "scale_decoder_outputs", of_t5 and self.model.config.tie_word_embeddings)
        return decoded * self.model.model_dim**-0.5 if scales else decoded


class Head(nn.Linear):
    """A head that gives logits or, when it is given labels, the summed loss.

    The loss is made inside the head's own forward, since sharded engines gather a parameter just there.

    Attributes:
        label_smoothing: of the summed loss; not of losses by row.
    """

    label_smoothing: float = 0.0

    def forward(self, input: Tensor, labels: Tensor | None = None, by_row: bool = False) -> Tensor:
        """Logits (batch, time, vocabulary) or, if there are labels (batch, time), the summed loss.

        That is a scalar, or (batch) in fp64 without a gradient if it is asked for by row.
        """
        if labels is None:
            return F.linear(input, self.weight)
        hidden, targets = input.flatten(0, -2), labels.flatten()
        if by_row:
            return cross_entropies(hidden, self.weight, targets).view_as(labels).sum(1, dtype=torch.float64)
        return linear_cross_entropy(hidden, self.weight, targets, self.label_smoothing)


def _leave_uncompiled(function: Function) -> Function:
    """`torch.compiler.disable` with a type."""
    return torch.compiler.disable(function)  # pyright: ignore[reportReturnType]


@_leave_uncompiled
def linear_cross_entropy(hidden: Tensor, weight: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Summed cross-entropy of `hidden @ weight.T`, made in slices of positions.

    The gradient of each slice is made at once, in place of its logits, so that the logits of a batch, which at
    a vocabulary of 50,257 outweigh all else, never lie in memory together, and no second product makes them anew.
    A compiler leaves it as it is: what it makes of it holds logits and gradient of a slice at the same time.

    Args:
        hidden: (positions, width).
        weight: (vocabulary, width).
        labels: (positions), -100 where nothing is predicted.
        label_smoothing: the part of 1 that is wanted of all tokens alike.

    Returns:
        A scalar in fp32.
    """
    chosen = _find_predicted(labels)
    if chosen is not None:
        hidden, labels = hidden[chosen], labels[chosen]
    if not torch.is_grad_enabled():
        return _sum(cross_entropies(hidden, weight, labels, label_smoothing))
    dtype = _dtype(weight)  # of autocast, which is off from here
    with torch.autocast(hidden.device.type, enabled=False):
        return _LinearCrossEntropy.apply(hidden, weight, labels, dtype, label_smoothing)  # pyright: ignore


@torch.no_grad()
def cross_entropies(hidden: Tensor, weight: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The cross-entropy of each position, (positions) in fp32, zero where nothing is predicted; without a gradient.

    Arguments as of `linear_cross_entropy`.
    """
    chosen, dtype = _find_predicted(labels), _dtype(weight)
    if chosen is not None:
        losses = cross_entropies(hidden[chosen], weight, labels[chosen], label_smoothing)
        return losses.new_zeros(len(labels)).index_copy_(0, chosen, losses)
    with torch.autocast(hidden.device.type, enabled=False):
        return _losses_and_gradients(hidden, weight, labels, dtype, (False, False), label_smoothing)[0]


def _sum(losses: Tensor) -> Tensor:
    """Their sum as fp32 can hold it, whatever their order."""
    return losses.sum(dtype=torch.float64).float()


def _find_predicted(labels: Tensor) -> Tensor | None:
    """Which positions are predicted, where that is worth knowing: a source or padding has no logits then.

    None where all or none are, and where it isn't known: on a GPU, for whose values the host would wait.
    """
    if labels.device.type != "cpu":
        return None
    chosen = (labels != IGNORE_INDEX).nonzero()[:, 0]
    return chosen if 0 < len(chosen) < len(labels) else None


def _dtype(weight: Tensor) -> torch.dtype:
    """What products with a weight are computed in: autocast's, where it is on."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, dtype: torch.dtype, label_smoothing: float
    ) -> Tensor:
        needs_gradient = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        losses, of_hidden, of_weight = _losses_and_gradients(
            hidden, weight, labels, dtype, needs_gradient, label_smoothing
        )
        ctx.weights_dtype = weight.dtype
        ctx.save_for_backward(of_hidden, of_weight)
        return _sum(losses)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_weight = (None if g is None else _scale(g, grad_outputs[0]) for g in ctx.saved_tensors)
        return of_hidden, None if of_weight is None else of_weight.to(ctx.weights_dtype), None, None, None


def _scale(gradient: Tensor, factor: Tensor) -> Tensor:
    """Their product in the gradient's precision; in fp16 by way of fp32, since the loss scale alone may exceed fp16."""
    if gradient.dtype == torch.float16:
        return (gradient.float() * factor).to(torch.float16)
    return gradient * factor.to(gradient.dtype)


def _losses_and_gradients(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    dtype: torch.dtype,
    needs_gradient: tuple[bool, bool],
    label_smoothing: float,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The loss of each position, and their sum's gradients of `hidden` and `weight` where these need one.

    The gradient of an fp16 weight is in fp32: a sum over positions that no scale has made small yet.
    """
    for_hidden, for_weight = needs_gradient
    positions, vocabulary = hidden.shape[0], weight.shape[0]
    kind = "cpu" if hidden.device.type == "cpu" else "cuda"
    multiple = _MULTIPLE[kind, dtype.itemsize]
    slices = max(1, -(-positions * vocabulary // _LOGITS_AT_ONCE[kind]))
    rows = max(1, _round_up(-(-positions // slices), multiple))
    predicted = (labels != IGNORE_INDEX).unsqueeze(1)  # (positions, 1)
    targets = _pad_rows(labels.clamp(min=0).unsqueeze(1), multiple)  # (positions, 1)
    # where nothing is predicted the gradient of the logits should be 0: it costs least in the narrow factors
    inputs = _pad_rows(torch.where(predicted, hidden, 0).to(dtype), multiple)
    matrix = _pad_rows(weight.to(dtype), multiple)
    parts: list[Tensor] = []
    of_hidden: list[Tensor] = []
    of_weight: Tensor | None = None
    buffer = torch.empty(rows, len(matrix), dtype=dtype, device=hidden.device)
    for start in range(0, len(inputs), rows):
        part = inputs[start : start + rows]
        logits = torch.mm(part, matrix.T, out=buffer[: len(part)])
        losses, slope = softmax_loss_in_place(logits, targets[start : start + rows], vocabulary, label_smoothing)
        parts.append(losses)
        if for_hidden:
            of_hidden.append(slope @ matrix)
        if for_weight:
            of_weight = _add_sum_over_rows(of_weight, slope, part)
    return (
        torch.cat(parts)[:positions].masked_fill(~predicted, 0).squeeze(1),
        torch.where(predicted, torch.cat(of_hidden)[:positions], 0).to(hidden.dtype) if for_hidden else None,
        None
        if of_weight is None
        else of_weight[:vocabulary].to(torch.float32 if weight.dtype == torch.float16 else weight.dtype),
    )


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _pad_rows(tensor: Tensor, multiple: int) -> Tensor:
    """With zeros; the tensor itself where there is nothing to pad."""
    missing = -len(tensor) % multiple
    return F.pad(tensor, (0, 0, 0, missing)) if missing else tensor


def _sum_over_rows(slope: Tensor, inputs: Tensor) -> Tensor:
    """`slope.T @ inputs`, in fp32 where fp16 could not hold it."""
    if slope.dtype != torch.float16:
        return slope.T @ inputs
    if slope.device.type == "cpu" or not _SUMS_IN_FP32:
        return slope.T.float() @ inputs.float()
    return torch.mm(slope.T, inputs, out_dtype=torch.float32)


def _add_sum_over_rows(total: Tensor | None, slope: Tensor, inputs: Tensor) -> Tensor:
    """`total + slope.T @ inputs` in fp32, in place where fp32 is what the product is made in.

    Else that product, which is as large as the weight, has no name that would keep it while the next is made.
    """
    if total is None:
        return _sum_over_rows(slope, inputs).float()
    if slope.dtype == torch.float32:
        return total.addmm_(slope.T, inputs)
    return total.add_(_sum_over_rows(slope, inputs))
