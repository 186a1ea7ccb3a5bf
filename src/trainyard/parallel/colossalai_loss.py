"""Model and objective in plain operations, for plugins that take them apart or hook into them."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from trainyard.labels import NOT_PREDICTED


class PlainObjective(nn.Module):
    """A model with its own head and the loss of all its logits at once."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = with_plain_head(model)

    def forward(self, labels: Tensor, **inputs: Tensor) -> Tensor:
        """The sum of the cross-entropy over all predicted tokens, a scalar, as `Objective` gives it."""
        return summed_loss(self.model(**inputs).logits, labels)


def with_plain_head(model: Any) -> Any:
    """The model with a head as it was before an `Objective` took it."""
    model.get_output_embeddings().__class__ = nn.Linear
    return model


def use_eager_attention(model: nn.Module) -> None:
    """Let attention go the plain way, in which ColossalAI's form of GPT-2 is causal.

    In a pipeline it makes a causal mask for the eager form alone, and transformers' `sdpa` is given none.
    """
    for module in model.modules():
        config = getattr(module, "config", None)
        if config is not None:
            config._attn_implementation = "eager"


def summed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum of the cross-entropy over predicted tokens, of fp32 losses in fp64.

    A sum of thousands in fp32 is itself a millionth of a nat a token away, as much as parity allows.

    Args:
        logits: (batch, time or more, vocabulary); beyond the labels it is padding.
        labels: (batch, time), -100 where nothing is predicted.
    """
    predictions = logits[:, : labels.shape[1]].flatten(0, 1).float()
    losses = F.cross_entropy(predictions, labels.flatten(), ignore_index=NOT_PREDICTED, reduction="none")
    return losses.double().sum()


def names_by_tensor(model: nn.Module) -> dict[int, list[str]]:
    """The names in the model's state, those of one tensor together, by the tensor's `id`."""
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    return names
