"""The parameters and the memory of GPT-2 with the parts of later models."""

from trainyard.config.catalogue import Shape
from trainyard.estimate.blocks import Operations, rotary_decoder
from trainyard.estimate.families.base import Adapted, Family, LinearLayers, Saved, rotary_linear_layers


def _parameters(shape: Shape) -> int:
    return rotary_decoder(shape, FAMILY.feed_forward_width(shape), bias=True)


def _block(on: Operations, time: int) -> float:
    # keys and values are repeated for the heads that share them
    return on.rotary_block(time, shared=False)


def _ends(on: Operations, _time: int) -> float:
    return on.rms_norm() + on.read_by_head()


def _linear(shape: Shape) -> list[LinearLayers]:
    return rotary_linear_layers(shape, FAMILY.feed_forward_width(shape))


FAMILY = Family(
    parameters=_parameters,
    feed_forward=lambda shape: 8 * shape.width // 3,
    shape_keys=frozenset({"key_value_heads", "rope_base", "initial_deviation"}),
    splits=frozenset({"tensor", "pipeline"}),
    saved=Saved(_block, _ends),
    adapted=Adapted(_linear, usual=("q_proj", "v_proj")),
)
