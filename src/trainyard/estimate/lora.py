"""Adapters of low rank, by arithmetic on a model's shape: which layers get one, and how large they are."""

from collections.abc import Iterator, Sequence

from trainyard.config.catalogue import Model
from trainyard.config.lora import Lora
from trainyard.estimate.blocks import decoder_layers
from trainyard.estimate.families import load_family
from trainyard.estimate.families.base import LinearLayers


def linear_stacks(model: Model) -> list[tuple[int, Sequence[LinearLayers]]]:
    """The stacks of blocks: how many, and the linear layers of each; none of a family that tells none."""
    shape, adapted = model.shape, load_family(model.family).adapted
    if adapted is None:
        return []
    stacks = [(shape.layers, adapted.block(shape))]
    return [*stacks, (decoder_layers(shape), adapted.decoder_block(shape))] if adapted.decoder_block else stacks


def linear_names(model: Model) -> list[str]:
    """The last names of all linear layers that an adapter can be added to, in the order of a block."""
    return list(dict.fromkeys(name for _, layers in linear_stacks(model) for each in layers for name in each.outputs))


def target_names(model: Model, lora: Lora) -> list[str]:
    """The last names of the linear layers that get an adapter."""
    if lora.targets == "all-linear":
        return linear_names(model)
    if lora.targets is not None:
        return lora.targets
    adapted = load_family(model.family).adapted
    return [] if adapted is None else list(adapted.usual)


def target_shapes(model: Model, lora: Lora) -> Iterator[tuple[str, int, int, int]]:
    """What gets an adapter: its name, how many of it there are, its inputs and its outputs."""
    names = target_names(model, lora)
    for blocks, layers in linear_stacks(model):
        for each in layers:
            yield from ((name, blocks, each.inputs, width) for name, width in each.outputs.items() if name in names)


def count_adapters(model: Model, lora: Lora | None) -> int:
    """Parameters of all adapters: an adapter's factors are (rank, inputs) and (outputs, rank)."""
    if lora is None:
        return 0
    return sum(blocks * lora.rank * (inputs + outputs) for _, blocks, inputs, outputs in target_shapes(model, lora))
