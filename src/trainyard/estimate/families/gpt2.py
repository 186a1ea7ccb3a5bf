"""GPT-2's parameters and memory."""

from trainyard.config.catalogue import Shape
from trainyard.estimate.blocks import Operations, attention, dense
from trainyard.estimate.families.base import Adapted, Family, LinearLayers, Saved


def _parameters(shape: Shape) -> int:
    norm = 2 * shape.width
    block = attention(shape.width) + dense(shape.width, FAMILY.feed_forward_width(shape)) + 2 * norm
    return shape.layers * block + norm


def _block(on: Operations, time: int) -> float:
    return (
        2 * on.layer_norm()
        + 2 * on.linear()
        + on.attention(time)
        + on.elements(2 * on.hidden, on.compute)
        + 2 * on.mask(on.width)
    )


def _ends(on: Operations, _time: int) -> float:
    return on.layer_norm() + on.read_by_head() + on.mask(on.width, on.stream)


def _linear(shape: Shape) -> list[LinearLayers]:
    width, hidden = shape.width, FAMILY.feed_forward_width(shape)
    return [
        LinearLayers("norm", width, {"c_attn": 3 * width}),
        LinearLayers("attention", width, {"c_proj": width}),
        LinearLayers("norm", width, {"c_fc": hidden}),
        LinearLayers("product", hidden, {"c_proj": width}),
    ]


FAMILY = Family(
    parameters=_parameters,
    positions=lambda shape: shape.context,
    shape_keys=frozenset({"initial_deviation"}),
    splits=frozenset({"tensor", "pipeline"}),
    saved=Saved(_block, _ends),
    adapted=Adapted(_linear, usual=("c_attn",)),
    has_megatrons_flops=True,
)
