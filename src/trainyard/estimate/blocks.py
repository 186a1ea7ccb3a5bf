"""The parts of a model that families are counted by: their parameters, and the bytes that each operation saves."""

from dataclasses import dataclass
from typing import Literal

from trainyard.config.catalogue import Shape

Arithmetic = Literal["fp32", "autocast", "half"]
"""All in fp32; torch's autocast over an fp32 model; a model whose weights themselves are in 16 bits."""


def head_width(shape: Shape) -> int:
    """Of one head of attention."""
    return shape.head_width or shape.width // shape.heads


def decoder_layers(shape: Shape) -> int:
    """Blocks of an encoder-decoder's decoder."""
    return shape.decoder_layers or shape.layers


def attention(width: int) -> int:
    """Parameters of four square products with biases."""
    return 4 * (width * width + width)


def dense(width: int, feed_forward: int) -> int:
    """Parameters of a feed-forward layer: up and down with biases."""
    return 2 * width * feed_forward + feed_forward + width


def rotary_decoder(shape: Shape, feed_forward: int, bias: bool = False) -> int:
    """Parameters of blocks of RMSNorm, grouped-query attention and a gated feed-forward layer, and of a last norm.

    Args:
        shape: of the model.
        feed_forward: hidden units of the feed-forward layers.
        bias: whether queries, keys and values have one.
    """
    queries = shape.heads * head_width(shape)
    shared = (shape.key_value_heads or shape.heads) * head_width(shape)
    mixing = 2 * shape.width * queries + 2 * shape.width * shared + bias * (queries + 2 * shared)
    return shape.layers * (mixing + 3 * shape.width * feed_forward + 2 * shape.width) + shape.width


@dataclass(frozen=True)
class Operations:
    """Bytes that one operation saves for the backward pass, for `tokens` tokens.

    Attributes:
        shape: of the model.
        feed_forward: hidden units of its feed-forward layers.
        arithmetic: of the forward pass.
        dropout: the rate.
        on_cpu: where dropout's masks are as wide as what they mask, and attention with dropout keeps its squares.
        parts: processes that share the heads and the hidden units of each block (tensor parallel).
        rows: sequences.
        tokens: of all rows.
        eager: attention keeps its squares everywhere.
        frozen: whether only adapters are trained, and no norm.
        window: within which a token looks at tokens of its own sequence; None where at all.
    """

    shape: Shape
    feed_forward: int
    arithmetic: Arithmetic
    dropout: float
    on_cpu: bool
    parts: int
    rows: int
    tokens: int
    eager: bool
    frozen: bool = False
    window: int | None = None

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
        """Of the stream between the blocks."""
        return self.shape.width

    @property
    def hidden(self) -> int:
        """Hidden units of the feed-forward layer here."""
        return self.feed_forward // self.parts

    def elements(self, number: float, size: int) -> float:
        """So many elements per token."""
        return self.tokens * number * size

    def layer_norm(self) -> float:
        """Its input, a mean and a deviation."""
        return self.elements(self.width + 2, self.stream)

    def rms_norm(self) -> float:
        """Its input in fp32, the same normalised, a root. In 16 bits the normalised input is kept in these.

        That is for the gradient of its weight, where there is one.
        """
        normalised = 0 if self.frozen else self.stream if self.arithmetic == "half" else 4
        return self.elements(self.width, normalised) + self.elements(self.width + 1, 4)

    def linear(self, readers: int = 1) -> float:
        """The input of linear layers; autocast makes a copy for each that reads it."""
        return self.elements(self.width, self.compute) * (readers if self.arithmetic == "autocast" else 1)

    def mask(self, number: float, size: int | None = None) -> float:
        """Dropout's: on a CPU as wide as its input, on a GPU a byte."""
        if not self.dropout:
            return 0.0
        return self.elements(number, (size or self.compute) if self.on_cpu else 1)

    def attention(
        self, keys: int, drops: bool = True, shared: bool = False, bias: bool = False, crosses: bool = False
    ) -> float:
        """Queries, keys, values and the result, over `keys` tokens a sequence.

        Flash attention keeps a logarithm a head besides. It has no dropout on a CPU and no gradient of a
        bias: then there is the square of probabilities in fp32, with a mask and a product if there is dropout.

        Args:
            keys: tokens that each token looks at.
            drops: whether the family has dropout here.
            shared: keys and values stay as few as the family's.
            bias: a bias on the positions is trained (T5).
            crosses: the keys are another sequence's, which is seen whole.
        """
        if self.window is not None and 2 * self.window < keys and not crosses:
            return self._windowed_attention(keys, self.window, drops, bias)
        shape = self.shape
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

    def _windowed_attention(self, keys: int, window: int, drops: bool, bias: bool) -> float:
        """Of blocks of `window` queries, each beside twice as many keys, and what each query may see of these."""
        heads = self.shape.heads / self.parts
        queries = heads * head_width(self.shape)
        dropped = self.dropout > 0 and drops and self.on_cpu
        squared = dropped or bias
        padded = -(-keys // window) * window / keys
        size = 4 if squared else self.compute
        kept = padded * self.elements(5 * queries, size) + padded * self.elements(queries, self.compute)
        # as numbers, or as truth values that choose the numbers of a bias
        seen = 2 * window * padded
        if not squared:
            return kept + self.elements(seen, self.compute) + padded * self.elements(heads, 4)
        return kept + self.elements((3 if dropped else 1) * heads * seen, 4) + self.elements(seen, 1)

    def rotary_block(self, time: int, shared: bool) -> float:
        """A whole block of RMSNorm, attention over `time` tokens and a gated feed-forward layer.

        Args:
            time: tokens of a sequence.
            shared: attention reads keys and values as few as they are, without repeating them.
        """
        return (
            2 * self.rms_norm()
            + self.linear(3)
            + self.linear(2)
            + self.attention(time, shared=shared)
            + self.elements(4 * self.hidden, self.compute)
        )

    def read_by_head(self) -> float:
        """The gradient of what the head reads, or what the decoder reads of the encoder."""
        return self.elements(self.width, self.stream)
