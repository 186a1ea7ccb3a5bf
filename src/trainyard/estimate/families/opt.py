"""OPT's parameters and memory."""

from trainyard.config.catalogue import Shape
from trainyard.estimate.blocks import Operations, attention, dense
from trainyard.estimate.families.base import Adapted, Family, LinearLayers, Saved


def _parameters(shape: Shape) -> int:
    norm = 2 * shape.width
    block = attention(shape.width) + dense(shape.width, FAMILY.feed_forward_width(shape)) + 2 * norm
    projected = shape.embedding_width not in (None, shape.width)
    projections = 2 * shape.width * (shape.embedding_width or 0) if projected else 0
    return shape.layers * block + projections + (0 if shape.post_norm else norm)


def _block(on: Operations, time: int) -> float:
    return (
        2 * on.layer_norm()
        + on.linear(3)
        + on.linear()
        + on.attention(time, drops=False)
        + on.elements(on.hidden, on.compute)
        + 2 * on.mask(on.width)
    )


def _ends(on: Operations, _time: int) -> float:
    return on.layer_norm() + on.read_by_head()


def _linear(shape: Shape) -> list[LinearLayers]:
    width, hidden = shape.width, FAMILY.feed_forward_width(shape)
    return [
        LinearLayers("norm", width, {"q_proj": width, "k_proj": width, "v_proj": width}),
        LinearLayers("kept", width, {"out_proj": width}),
        LinearLayers("norm", width, {"fc1": hidden}),
        LinearLayers("kept", hidden, {"fc2": width}),
    ]


FAMILY = Family(
    parameters=_parameters,
    positions=lambda shape: shape.context + 2,  # the table begins with two unused rows
    shape_keys=frozenset({"embedding_width", "post_norm", "initial_deviation"}),
    splits=frozenset({"tensor", "pipeline"}),
    saved=Saved(_block, _ends),
    adapted=Adapted(_linear, usual=("q_proj", "v_proj")),
    has_megatrons_flops=True,
)
