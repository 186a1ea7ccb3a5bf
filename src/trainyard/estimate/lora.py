"""Adapters of low rank, by arithmetic on a model's shape: which layers get one, and how large they are."""

from collections.abc import Collection, Iterator, Sequence

from trainyard.config.catalogue import Model
from trainyard.config.lora import Lora
from trainyard.estimate.blocks import Operations, decoder_layers
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


def saved_with_adapters(
    on: Operations, source: Operations, layers: LinearLayers, lora: Lora, names: Collection[str]
) -> float:
    """Bytes that linear layers of a block save more, or less, once they are frozen and some have an adapter.

    A frozen layer needs no input for its backward pass. An adapter reads the same input, through dropout of its own
    if there is any, and saves what passes between its factors.

    Args:
        on: operations of the block.
        source: those of the stack whose result an encoder-decoder's decoder reads.
        layers: that read the same.
        lora: the adapters.
        names: of the layers that have one.
    """
    adapters, tokens = sum(name in names for name in layers.outputs), source if layers.reads == "encoder" else on
    before, after = _saved_inputs(on, tokens, layers, len(layers.outputs)), _saved_inputs(on, tokens, layers, adapters)
    own = tokens.elements(layers.inputs, on.compute)
    if lora.dropout:
        after = adapters * (own + tokens.elements(layers.inputs, on.stream if on.on_cpu else 1))
    elif on.arithmetic == "autocast" and not after:  # peft takes it to fp32, and autocast back
        after = adapters * own
    return after - before + adapters * tokens.elements(lora.rank, on.compute)


def _saved_inputs(on: Operations, tokens: Operations, layers: LinearLayers, readers: int) -> float:
    """Bytes that so many of these layers have saved for themselves."""
    casts, one = on.arithmetic == "autocast", tokens.elements(layers.inputs, on.compute)
    copies = {
        "norm": readers if casts else 1,
        "product": 1,
        "kept": 0,
        "attention": bool(on.eager or (on.dropout and on.on_cpu)),
        "relu": bool(on.dropout or casts),
        "encoder": readers if casts else 0,
    }
    return one * copies[layers.reads] if readers else 0.0
