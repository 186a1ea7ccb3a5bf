"""Parts of a model that keep their weights: no gradient is made for them, and no optimizer state is kept."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from trainyard.config.model_parts import Part, parse_part
from trainyard.models.blocks import find_blocks, walk_outside_of_blocks


def freeze(model: Any, names: Iterable[str]) -> None:
    """Let parts of a model keep their weights.

    A weight that two parts share (an embedding that is the head too) is frozen with the embeddings.

    Args:
        model: a model of transformers, or one with the same names.
        names: of its parts, as `freeze` of a study's `train` has them.
    """
    for name in names:
        for parameter in list(_parameters(model, parse_part(name))):
            parameter.requires_grad_(False)


def frozen_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights that are not trained, by all their names; they stay as they are whatever is made of the model."""
    named = model.named_parameters(remove_duplicate=False)
    return {name: parameter.detach() for name, parameter in named if not parameter.requires_grad}


def _parameters(model: Any, part: Part) -> Iterator[nn.Parameter]:
    if part.stack == "embeddings":
        for module in walk_outside_of_blocks(model):
            if isinstance(module, nn.Embedding):
                yield from module.parameters()
        return
    stack = getattr(model.base_model, part.stack) if part.stack else model
    if part.blocks is None:
        shared = model.base_model.encoder.embed_tokens.weight
        yield from (parameter for parameter in stack.parameters() if parameter is not shared)
    else:
        own = list(find_blocks(stack))
        for number in part.blocks:
            yield from own[number].parameters()
