"""BART's parameters and memory."""

from trainyard.config.catalogue import Shape
from trainyard.estimate.blocks import Operations, attention, decoder_layers, dense
from trainyard.estimate.families.base import Adapted, Family, LinearLayers, Saved


def _parameters(shape: Shape) -> int:
    norm = 2 * shape.width
    feed_forward = dense(shape.width, FAMILY.feed_forward_width(shape))
    encoder = shape.layers * (attention(shape.width) + feed_forward + 2 * norm)
    decoder = decoder_layers(shape) * (2 * attention(shape.width) + feed_forward + 3 * norm)
    return encoder + decoder + 2 * norm  # each stack normalises its embeddings


def _block(on: Operations, time: int) -> float:
    return (
        2 * on.layer_norm()
        + on.linear(3)
        + on.linear()
        + on.attention(time)
        + on.elements(2 * on.hidden, on.compute)
        + on.mask(2 * on.width + on.hidden)
    )


def _decoder_block(on: Operations, time: int, source: int, encoded: float) -> float:
    cross = on.layer_norm() + on.linear() + on.attention(source, crosses=True) + on.mask(on.width)
    return _block(on, time) + cross + encoded


def _ends(on: Operations, _time: int) -> float:
    return on.layer_norm() + on.read_by_head() + on.mask(on.width, on.stream)


def _linear(shape: Shape) -> list[LinearLayers]:
    width, hidden = shape.width, FAMILY.feed_forward_width(shape)
    return [
        LinearLayers("norm", width, {"q_proj": width, "k_proj": width, "v_proj": width}),
        LinearLayers("attention", width, {"out_proj": width}),
        LinearLayers("norm", width, {"fc1": hidden}),
        LinearLayers("product", hidden, {"fc2": width}),
    ]


def _decoder_linear(shape: Shape) -> list[LinearLayers]:
    width = shape.width
    return [
        *_linear(shape),
        LinearLayers("norm", width, {"q_proj": width}),
        LinearLayers("encoder", width, {"k_proj": width, "v_proj": width}),
        LinearLayers("attention", width, {"out_proj": width}),
    ]


FAMILY = Family(
    parameters=_parameters,
    # a table for the encoder and one for the decoder, which begin with two unused rows
    positions=lambda shape: 2 * (shape.context + 2),
    shape_keys=frozenset({"decoder_layers", "initial_deviation"}),
    splits=frozenset({"tensor"}),
    saved=Saved(_block, _ends, _decoder_block),
    adapted=Adapted(_linear, ("q_proj", "v_proj"), _decoder_linear),
    is_encoder_decoder=True,
)
