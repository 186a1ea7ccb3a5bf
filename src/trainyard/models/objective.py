"""The training objective: summed cross-entropy over the predicted tokens, without keeping the logits."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORED = -100
"""The label of a position where nothing is predicted."""

LOGITS_AT_ONCE = 2**26
"""Logits held at one time (268 MB in fp32): enough rows for a fast product, few enough for a small machine."""


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
        assert isinstance(head, nn.Linear), f"the head of {type(model).__name__} is no nn.Linear"
        assert head.bias is None, f"the head of {type(model).__name__} has a bias"
        head.__class__ = Head

    def forward(self, labels: Tensor, **inputs: Tensor) -> Tensor:
        """The sum of the cross-entropy over all predicted tokens.

        Args:
            labels: the token to predict at each position, already shifted, -100 for none: (batch, time).
            inputs: what the model reads: `input_ids` (batch, time); for an encoder-decoder `input_ids` and
                `attention_mask` (batch, source) and `decoder_input_ids` (batch, time).

        Returns:
            A scalar in fp32.
        """
        hidden = self._hidden_states(inputs)  # (batch, time, width)
        return self.model.get_output_embeddings()(hidden, labels)

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

    def forward(self, input: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (batch, time, vocabulary), or the summed loss, a scalar, if there are labels (batch, time)."""
        if labels is None:
            return super().forward(input)
        return linear_cross_entropy(input.flatten(0, -2), self.weight, labels.flatten())


@torch.compiler.disable
def linear_cross_entropy(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """Summed cross-entropy of `hidden @ weight.T`, made in slices of positions.

    The gradient of each slice is made at once, in place of its logits, so that the logits of a batch, which at
    a vocabulary of 50,257 outweigh all else, never lie in memory together, and no second product makes them anew.
    It is left out of compiled graphs: products that fill the machine gain nothing from a compiler.

    Args:
        hidden: (positions, width).
        weight: (vocabulary, width).
        labels: (positions), -100 where nothing is predicted.

    Returns:
        A scalar in fp32.
    """
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    with torch.autocast(kind, enabled=False):
        if torch.is_grad_enabled():
            return _LinearCrossEntropy.apply(hidden, weight, labels, dtype)  # pyright: ignore[reportReturnType]
        return _loss_and_gradients(hidden, weight, labels, dtype, (False, False))[0]


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, dtype: torch.dtype) -> Tensor:
        loss, *gradients = _loss_and_gradients(hidden, weight, labels, dtype, ctx.needs_input_grad[:2])
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_weight = (None if g is None else g * outer[0].to(g.dtype) for g in ctx.saved_tensors)
        return of_hidden, of_weight, None, None


def _loss_and_gradients(
    hidden: Tensor, weight: Tensor, labels: Tensor, dtype: torch.dtype, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The summed loss, and its gradients of `hidden` and `weight` where they are wanted."""
    loss = torch.zeros((), device=hidden.device)
    of_hidden = torch.empty_like(hidden) if wanted[0] else None
    of_weight = torch.zeros_like(weight, dtype=torch.float32) if wanted[1] else None
    predicted = (labels != IGNORED).unsqueeze(1)  # (positions, 1)
    targets = labels.clamp(min=0).unsqueeze(1)  # (positions, 1)
    inputs, matrix = hidden.to(dtype), weight.to(dtype)
    slices = -(-hidden.shape[0] * weight.shape[0] // LOGITS_AT_ONCE)
    rows = -(-hidden.shape[0] // max(slices, 1))
    for start in range(0, hidden.shape[0], rows):
        part = slice(start, start + rows)
        scores = F.log_softmax(F.linear(inputs[part], matrix), dim=1, dtype=torch.float32)  # (rows, vocabulary)
        loss -= scores.gather(1, targets[part]).masked_fill(~predicted[part], 0).sum()
        if not any(wanted):
            continue
        # the gradient of the logits is softmax minus one at the target; where nothing is predicted it is 0,
        # which costs little in the two products' narrow factors
        slope = scores.exp_().scatter_add_(1, targets[part], scores.new_full((1, 1), -1).expand_as(targets[part]))
        slope = slope.to(dtype)
        if of_hidden is not None:
            of_hidden[part] = (slope @ matrix).masked_fill_(~predicted[part], 0)
        if of_weight is not None:
            of_weight += slope.T @ inputs[part].masked_fill(~predicted[part], 0)
    return loss, of_hidden, None if of_weight is None else of_weight.to(weight.dtype)
