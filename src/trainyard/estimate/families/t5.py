"""T5's parameters and memory."""

from trainyard.config.catalogue import Shape
from trainyard.estimate.blocks import Operations, decoder_layers, head_width
from trainyard.estimate.families.base import Adapted, Family, LinearLayers, Saved

_BUCKETS = 32  # relative positions, shared by all blocks of a stack


def _parameters(shape: Shape) -> int:
    attention = 4 * shape.width * shape.heads * head_width(shape)
    dense = 2 * shape.width * FAMILY.feed_forward_width(shape)
    encoder = shape.layers * (attention + dense + 2 * shape.width)
    decoder = decoder_layers(shape) * (2 * attention + dense + 3 * shape.width)
    return encoder + decoder + 2 * (_BUCKETS * shape.heads + shape.width)


def _block(on: Operations, time: int) -> float:
    # ReLU's output, and with dropout its mask and product; autocast copies what the last layer reads
    wide = 1 + (2 if on.dropout else on.arithmetic == "autocast")
    masks = 0.0 if not on.dropout else on.mask(on.hidden) - on.elements(on.hidden, on.compute)
    return (
        2 * on.rms_norm()
        + (on.elements(2 * on.width, on.stream) if on.arithmetic == "half" else 0.0)
        + on.linear(3)
        + on.linear()
        + on.attention(time, bias=not on.frozen)
        + on.elements(wide * on.hidden, on.compute)
        + masks
        + 2 * on.mask(on.width)
    )


def _decoder_block(on: Operations, time: int, source: int, encoded: float) -> float:
    half = on.elements(on.width, on.stream) if on.arithmetic == "half" else 0.0
    cross = on.rms_norm() + half + on.linear() + on.attention(source, crosses=True) + on.mask(on.width)
    return _block(on, time) + cross + encoded


def _ends(on: Operations, time: int) -> float:
    pairs = time**2 if on.window is None or on.window >= time else on.window
    bias = pairs * (4 * on.shape.heads / on.parts + 8)  # of positions, one for all blocks
    return on.rms_norm() + on.read_by_head() + 2 * on.mask(on.width, on.stream) + bias


def _linear(shape: Shape) -> list[LinearLayers]:
    width, inner, hidden = shape.width, shape.heads * head_width(shape), FAMILY.feed_forward_width(shape)
    return [
        LinearLayers("norm", width, {"q": inner, "k": inner, "v": inner}),
        LinearLayers("attention", inner, {"o": width}),
        LinearLayers("norm", width, {"wi": hidden}),
        LinearLayers("relu", hidden, {"wo": width}),
    ]


def _decoder_linear(shape: Shape) -> list[LinearLayers]:
    width, inner = shape.width, shape.heads * head_width(shape)
    return [
        *_linear(shape),
        LinearLayers("norm", width, {"q": inner}),
        LinearLayers("encoder", width, {"k": inner, "v": inner}),
        LinearLayers("attention", inner, {"o": width}),
    ]


FAMILY = Family(
    parameters=_parameters,
    # initial weights are scaled by their shapes, not by a deviation
    shape_keys=frozenset({"head_width", "decoder_layers"}),
    splits=frozenset({"tensor"}),
    saved=Saved(_block, _ends, _decoder_block),
    adapted=Adapted(_linear, ("q", "v"), _decoder_linear),
    is_encoder_decoder=True,
    has_relative_positions=True,
)
