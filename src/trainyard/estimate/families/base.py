"""What a family of models is to all that plans, counts and predicts, told without torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from trainyard.config.catalogue import Shape
from trainyard.estimate.blocks import Operations, head_width

Split = Literal["tensor", "pipeline"]
ShapeKey = Literal[
    "key_value_heads",
    "rope_base",
    "head_width",
    "decoder_layers",
    "embedding_width",
    "post_norm",
    "initial_deviation",
]
"""The keys of a shape that not every family has."""


@dataclass(frozen=True)
class Saved:
    """Bytes that a family saves from its forward pass for the backward pass, as autograd keeps them.

    Attributes:
        block: by one block of the only stack, or of the encoder: of its operations and the tokens of a sequence.
        ends: by what stands before and after the blocks of a stack: of the same.
        decoder_block: by one block of an encoder-decoder's decoder: of its operations, the tokens of a target and
            of a source, and the bytes that the encoder's result takes.
    """

    block: Callable[[Operations, int], float]
    ends: Callable[[Operations, int], float]
    decoder_block: Callable[[Operations, int, int, float], float] | None = None


@dataclass(frozen=True)
class LinearLayers:
    """Linear layers of one block that read the same.

    Attributes:
        reads: what that is, which says who else saves it for the backward pass. Nobody saves the output of a `norm`,
            of which autocast makes a copy for each layer, nor a `product`; what is `kept` its maker saves anyway;
            `attention` does so where it has no dropout, and T5's `relu` where there is none and no autocast. Of what
            the `encoder` gives a block has autocast's copies alone.
        inputs: its width.
        outputs: the width of what each gives, by the last name of its module.
    """

    reads: Literal["norm", "product", "kept", "attention", "relu", "encoder"]
    inputs: int
    outputs: Mapping[str, int]


@dataclass(frozen=True)
class Adapted:
    """The linear layers that adapters can be added to (`lora`).

    Attributes:
        block: of one block of the only stack, or of the encoder.
        usual: names of those that get one where a study names none: peft's own for the family.
        decoder_block: of one block of an encoder-decoder's decoder.
    """

    block: Callable[[Shape], Sequence[LinearLayers]]
    usual: tuple[str, ...]
    decoder_block: Callable[[Shape], Sequence[LinearLayers]] | None = None


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of models; the file of the same name in `trainyard.models` makes them.

    Attributes:
        parameters: how many a shape gives, without the tables of tokens and positions.
        shape_keys: which keys a shape may have that not every family has.
        splits: how one copy may be spread over processes; for each, the file in `trainyard.models` says how
            (TENSOR_SPLIT, PIPELINE_SPLIT).
        saved: the bytes kept for the backward pass; without them the memory of its models is not predicted.
        adapted: what adapters can be added to; without it none are.
        feed_forward: hidden units of the feed-forward layers, where a shape doesn't say.
        positions: rows of all tables of positions.
        is_encoder_decoder: whether it maps a source to a target.
        has_relative_positions: whether it reads sequences of any length.
        has_megatrons_flops: whether Megatron's count of FLOPs holds where the feed-forward layers have four times
            the width.
    """

    parameters: Callable[[Shape], int]
    shape_keys: frozenset[ShapeKey] = frozenset()
    splits: frozenset[Split] = frozenset()
    saved: Saved | None = None
    adapted: Adapted | None = None
    feed_forward: Callable[[Shape], int] = lambda shape: 4 * shape.width
    positions: Callable[[Shape], int] = lambda _shape: 0
    is_encoder_decoder: bool = False
    has_relative_positions: bool = False
    has_megatrons_flops: bool = False

    def __post_init__(self) -> None:
        for name, known in (("splits", get_args(Split)), ("shape_keys", get_args(ShapeKey))):
            if unknown := sorted(getattr(self, name) - set(known)):
                raise TypeError(f"{name}: no {unknown[0]!r}; there are {', '.join(known)}")
        if not callable(self.parameters) or not isinstance(self.saved, Saved | None):
            raise TypeError("parameters is a function of a shape, and saved a Saved")
        if self.saved is not None and self.is_encoder_decoder != (self.saved.decoder_block is not None):
            raise TypeError("saved.decoder_block: an encoder-decoder has one, and no other family does")

    def feed_forward_width(self, shape: Shape) -> int:
        """Hidden units of the feed-forward layers."""
        return shape.feed_forward or self.feed_forward(shape)


def rotary_linear_layers(shape: Shape, feed_forward: int) -> list[LinearLayers]:
    """Those of a block of grouped-query attention and a gated feed-forward layer of so many hidden units."""
    queries, shared = (heads * head_width(shape) for heads in (shape.heads, shape.key_value_heads or shape.heads))
    return [
        LinearLayers("norm", shape.width, {"q_proj": queries, "k_proj": shared, "v_proj": shared}),
        LinearLayers("attention", queries, {"o_proj": shape.width}),
        LinearLayers("norm", shape.width, {"gate_proj": feed_forward, "up_proj": feed_forward}),
        LinearLayers("product", feed_forward, {"down_proj": shape.width}),
    ]
