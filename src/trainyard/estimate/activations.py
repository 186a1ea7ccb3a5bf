"""What a model keeps from its forward pass for the backward pass, in bytes, by arithmetic on its shape.

Korthikanti et al. 2022 count it for Megatron's GPT. Here each family is counted as its own file of
transformers (or ours) saves it, operation by operation: tests/estimate/test_memory.py asks autograd itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from trainyard.config.catalogue import Model
from trainyard.estimate.parameters import decoder_layers, feed_forward_width, head_width

Arithmetic = Literal["fp32", "autocast", "half"]
"""All in fp32; torch's autocast over an fp32 model; a model whose weights themselves are in 16 bits."""


@dataclass(frozen=True)
class Activations:
    """Bytes of one micro-batch.

    Attributes:
        kept: what lies in memory when the forward pass is done.
        working: the most that the backward pass of one block holds besides.
    """

    kept: float
    working: float


@dataclass(frozen=True)
class BatchShape:
    """What a process takes at once: sequences, and tokens of each (of the source, and of the target if there is one).

    Attributes:
        rows: sequences.
        source: tokens of each that the only stack, or the encoder, reads.
        target: tokens of each that the decoder of an encoder-decoder reads.
    """

    rows: int
    source: int
    target: int


@dataclass(frozen=True)
class _Operations:
    """Bytes that one operation saves for `tokens` tokens.

    `parts` processes share the heads and the hidden units of each block (tensor parallel).
    """

    model: Model
    arithmetic: Arithmetic
    dropout: float
    on_cpu: bool
    parts: int
    rows: int
    tokens: int
    eager: bool

    @property
    def stream(self) -> int:
        """Bytes of an element between the blocks."""
        return 2 if self.arithmetic == "half" else 4

    @property
    def compute(self) -> int:
        """Bytes of an element inside of them."""
        return 4 if self.arithmetic == "fp32" else 2

    @property
    def width(self) -> int:
        return self.model.shape.width

    @property
    def hidden(self) -> int:
        """Hidden units of the feed-forward layer here."""
        return feed_forward_width(self.model) // self.parts

    def elements(self, number: float, size: int) -> float:
        """So many elements a token."""
        return self.tokens * number * size

    def layer_norm(self) -> float:
        """Its input, a mean and a deviation."""
        return self.elements(self.width + 2, self.stream)

    def rms_norm(self) -> float:
        """Its input in fp32, the same normalised, a root. In 16 bits the normalised input is kept in these."""
        normalised = self.stream if self.arithmetic == "half" else 4
        return self.elements(self.width, normalised) + self.elements(self.width + 1, 4)

    def linear(self, readers: int = 1) -> float:
        """The input of linear layers; autocast makes a copy for each that reads it."""
        return self.elements(self.width, self.compute) * (readers if self.arithmetic == "autocast" else 1)

    def mask(self, number: float, size: int | None = None) -> float:
        """Dropout's: on a CPU as wide as its input, on a GPU a byte."""
        if not self.dropout:
            return 0.0
        return self.elements(number, (size or self.compute) if self.on_cpu else 1)

    def attention(self, keys: int, drops: bool = True, shared: bool = False, bias: bool = False) -> float:
        """Queries, keys, values and the result, over `keys` tokens per sequence.

        Flash attention keeps a logarithm a head besides. It has no dropout on a CPU and no gradient of a
        bias: then there is the square of probabilities in fp32, with a mask and a product if there is dropout.

        Args:
            keys: tokens that each token looks at.
            drops: whether the family has dropout here.
            shared: keys and values stay as few as the family's.
            bias: a bias on the positions is trained (T5).
        """
        shape = self.model.shape
        heads = shape.heads / self.parts
        queries = heads * head_width(shape)
        dropped = self.dropout > 0 and drops and self.on_cpu
        squared = dropped or bias or self.eager
        few = (shape.key_value_heads or shape.heads) / self.parts * head_width(shape)
        pairs = 2 * self.rows * keys * (few if shared and not squared else queries)
        size = 4 if squared else self.compute
        kept = self.elements(queries, size) + pairs * size + self.elements(queries, self.compute)
        if not squared:
            return kept + self.elements(heads, 4)
        dropped = dropped or (self.eager and self.dropout > 0 and drops)
        return kept + self.elements((3 if dropped else 1) * heads * keys, 4)


def _gpt2(on: _Operations, time: int) -> float:
    # its GELU is made of five operations
    return (
        2 * on.layer_norm()
        + 2 * on.linear()
        + on.attention(time)
        + on.elements(5 * on.hidden, on.compute)
        + 2 * on.mask(on.width)
    )


def _opt(on: _Operations, time: int) -> float:
    return (
        2 * on.layer_norm()
        + on.linear(3)
        + on.linear()
        + on.attention(time, drops=False)
        + on.elements(on.hidden, on.compute)
        + 2 * on.mask(on.width)
    )


def _gated(on: _Operations, time: int, shared: bool) -> float:
    return (
        2 * on.rms_norm()
        + on.linear(3)
        + on.linear(2)
        + on.attention(time, shared=shared)
        + on.elements(4 * on.hidden, on.compute)
    )


def _gpt2_modern(on: _Operations, time: int) -> float:
    return _gated(on, time, shared=False)


def _llama(on: _Operations, time: int) -> float:
    return _gated(on, time, shared=True)


def _bart_encoder(on: _Operations, time: int) -> float:
    return (
        2 * on.layer_norm()
        + on.linear(3)
        + on.linear()
        + on.attention(time)
        + on.elements(2 * on.hidden, on.compute)
        + on.mask(2 * on.width + on.hidden)
    )


def _bart_decoder(on: _Operations, time: int, source: int, encoded: float) -> float:
    cross = on.layer_norm() + on.linear() + on.attention(source) + on.mask(on.width)
    return _bart_encoder(on, time) + cross + encoded


def _t5_encoder(on: _Operations, time: int) -> float:
    # ReLU's output, and with dropout its mask and product; autocast copies what the last layer reads
    wide = 1 + (2 if on.dropout else on.arithmetic == "autocast")
    masks = 0.0 if not on.dropout else on.mask(on.hidden) - on.elements(on.hidden, on.compute)
    return (
        2 * on.rms_norm()
        + (on.elements(2 * on.width, on.stream) if on.arithmetic == "half" else 0.0)
        + on.linear(3)
        + on.linear()
        + on.attention(time, bias=True)
        + on.elements(wide * on.hidden, on.compute)
        + masks
        + 2 * on.mask(on.width)
    )


def _t5_decoder(on: _Operations, time: int, source: int, encoded: float) -> float:
    half = on.elements(on.width, on.stream) if on.arithmetic == "half" else 0.0
    cross = on.rms_norm() + half + on.linear() + on.attention(source) + on.mask(on.width)
    return _t5_encoder(on, time) + cross + encoded


_ONE_STACK: dict[str, Callable[[_Operations, int], float]] = {
    "gpt2": _gpt2,
    "opt": _opt,
    "gpt2_modern": _gpt2_modern,
    "llama": _llama,
}
_TWO_STACKS: dict[str, tuple[Callable[[_Operations, int], float], Callable[[_Operations, int, int, float], float]]] = {
    "bart": (_bart_encoder, _bart_decoder),
    "t5": (_t5_encoder, _t5_decoder),
}
_RMS = ("gpt2_modern", "llama", "t5")


def activations(
    model: Model,
    batch: BatchShape,
    arithmetic: Arithmetic,
    *,
    dropout: float | None = None,
    checkpointing: bool = False,
    on_cpu: bool = True,
    tensor: int = 1,
    pipeline: int = 1,
    eager: bool = False,
) -> Activations:
    """What one micro-batch keeps.

    Args:
        model: the catalogue's entry.
        batch: sequences and their lengths.
        arithmetic: of the forward pass.
        dropout: instead of the shape's own.
        checkpointing: the input of each block is kept alone, and the rest made again in the backward pass.
        on_cpu: where dropout's masks are as wide as what they mask, and attention with dropout keeps its squares.
        tensor: processes that share each matrix.
        pipeline: processes that share the blocks; what the one with the most keeps.
        eager: attention keeps its squares everywhere.
    """
    rate = model.shape.dropout if dropout is None else dropout

    def operations(tokens: int) -> _Operations:
        return _Operations(model, arithmetic, rate, on_cpu, tensor, batch.rows, batch.rows * tokens, eager)

    stacks = _stacks(model, batch, operations)
    kept = working = 0.0
    for on, layers, block in stacks:
        here = -(-layers // pipeline)
        stored = on.elements(on.width, on.stream) if checkpointing else block
        kept += here * stored + _ends(on, on.tokens // batch.rows)
        # the gradients of the widest tensors of a block, or of its probabilities, as they replace one another
        passing = on.elements(3 * max(on.hidden, on.width), on.compute)
        working = max(working, passing + (block if checkpointing else 0.0))
    return Activations(kept, working)


def _stacks(
    model: Model, batch: BatchShape, operations: Callable[[int], _Operations]
) -> list[tuple[_Operations, int, float]]:
    """The stacks of blocks: what their operations are counted by, how many blocks, and what each saves."""
    shape = model.shape
    first = operations(batch.source)
    if model.family in _ONE_STACK:
        return [(first, shape.layers, _ONE_STACK[model.family](first, batch.source))]
    encoder, decoder = _TWO_STACKS[model.family]
    second = operations(batch.target)
    # autocast copies the encoder's result for the keys and the values of each block
    encoded = first.linear(2) if first.arithmetic == "autocast" else 0.0
    return [
        (first, shape.layers, encoder(first, batch.source)),
        (second, decoder_layers(shape), decoder(second, batch.target, batch.source, encoded)),
    ]


def _ends(on: _Operations, time: int) -> float:
    """What a stack keeps besides its blocks.

    The last norm, what follows it (the head's gradient of its input, or what the decoder reads), dropout's masks,
    and T5's one bias of positions.
    """
    family, heads = on.model.family, on.model.shape.heads / on.parts
    norm = on.rms_norm() if family in _RMS else on.layer_norm()
    bias = time**2 * (4 * heads + 8) if family == "t5" else 0.0
    masks = {"gpt2": 1, "bart": 1, "t5": 2}.get(family, 0)
    return norm + on.elements(on.width, on.stream) + masks * on.mask(on.width, on.stream) + bias
