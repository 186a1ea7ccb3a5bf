"""What is frozen of a model, by arithmetic on its shape."""

from collections.abc import Iterable
from dataclasses import dataclass

from trainyard.config.catalogue import Model
from trainyard.config.model_parts import parse_part
from trainyard.estimate.blocks import decoder_layers
from trainyard.estimate.families import load_family
from trainyard.estimate.parameters import head_parameters, parameters_without_embeddings


@dataclass(frozen=True)
class Frozen:
    """How much of a model keeps its weights.

    Attributes:
        blocks: parameters of blocks.
        head: parameters of the table of tokens, which is the head too.
        positions: parameters of the tables of positions.
        idle_blocks: blocks of the only stack, or of encoder and decoder, that stand below all that is trained: nothing
            is kept of their forward pass, and they have no backward pass.
    """

    blocks: int = 0
    head: int = 0
    positions: int = 0
    idle_blocks: tuple[int, int] = (0, 0)

    @property
    def parameters(self) -> int:
        """All that are frozen."""
        return self.blocks + self.head + self.positions


def count_frozen(model: Model, names: Iterable[str]) -> Frozen:
    """Count what `freeze` names; the norms outside of the blocks of an encoder or decoder count as trained.

    Args:
        model: the catalogue's entry.
        names: parts, as `freeze` of a study's `train` has them.
    """
    shape, family = model.shape, load_family(model.family)
    parts = [parse_part(name) for name in names]
    depths = {"": shape.layers}
    if family.is_encoder_decoder:
        depths = {"encoder": shape.layers, "decoder": decoder_layers(shape)}
    frozen: dict[str, set[int]] = {stack: set() for stack in depths}
    for part in parts:
        if part.stack in frozen:
            frozen[part.stack] |= set(part.blocks or range(depths[part.stack]))
    sizes = {stack: _block_parameters(model, stack) for stack in depths}
    embeddings = any(part.stack == "embeddings" for part in parts)
    whole_stacks = sum(part.stack in frozen and part.blocks is None for part in parts)
    idle: dict[str, int] = {}
    below = embeddings
    for stack, depth in depths.items():
        idle[stack] = next((number for number in range(depth) if number not in frozen[stack]), depth) if below else 0
        below = below and idle[stack] == depth
    return Frozen(
        blocks=sum(len(numbers) * sizes[stack] for stack, numbers in frozen.items()),
        head=head_parameters(model) if embeddings else 0,
        # encoder and decoder have a table each
        positions=family.positions(shape) * shape.width * (2 if embeddings else whole_stacks) // 2,
        idle_blocks=(idle.get("", idle.get("encoder", 0)), idle.get("decoder", 0)),
    )


def count_whole(model: Model) -> Frozen:
    """All of a model's own weights, beside adapters in each of its blocks."""
    positions = load_family(model.family).positions(model.shape) * model.shape.width
    return Frozen(parameters_without_embeddings(model), head_parameters(model), positions)


def _block_parameters(model: Model, stack: str) -> int:
    """Of one block, the difference that one more makes."""
    key, count = (
        ("decoder_layers", decoder_layers(model.shape)) if stack == "decoder" else ("layers", model.shape.layers)
    )
    fixed = {} if stack != "encoder" else {"decoder_layers": decoder_layers(model.shape)}
    deeper = model.model_copy(update={"shape": model.shape.model_copy(update={**fixed, key: count + 1})})
    return parameters_without_embeddings(deeper) - parameters_without_embeddings(model)
