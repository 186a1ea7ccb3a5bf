"""What a model keeps from its forward pass for the backward pass, in bytes, by arithmetic on its shape.

Korthikanti et al. 2022 count it for Megatron's GPT. Here each family is counted as its own file of
transformers (or ours) saves it, operation by operation: tests/estimate/test_memory.py asks autograd itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

from trainyard.config.catalogue import Model, Shape
from trainyard.config.lora import Lora
from trainyard.core.errors import InputError
from trainyard.estimate.blocks import Arithmetic, Operations, decoder_layers
from trainyard.estimate.families import load_family
from trainyard.estimate.families.base import Saved
from trainyard.estimate.lora import linear_stacks, saved_with_adapters, target_names


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
    idle_blocks: tuple[int, int] = (0, 0),
    lora: Lora | None = None,
    window: int | None = None,
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
        idle_blocks: of each stack, below all that is trained, which keep nothing.
        lora: adapters, beside which linear layers have no gradient of their own.
        window: within which a token attends; by blocks of queries, as on a CPU.

    Raises:
        InputError: the file of the family doesn't tell what it saves.
    """
    family, rate = load_family(model.family), model.shape.dropout if dropout is None else dropout
    saved = family.saved
    if saved is None:
        raise InputError(f"src/trainyard/estimate/families/{model.family}.py: FAMILY.saved: this is missing")
    hidden = family.feed_forward_width(model.shape)

    def operations(tokens: int) -> Operations:
        rows, frozen = batch.rows, lora is not None
        return Operations(
            model.shape, hidden, arithmetic, rate, on_cpu, tensor, rows, rows * tokens, eager, frozen, window
        )

    kept = working = 0.0
    stacks = _stacks(saved, model.shape, batch, operations)
    if lora is not None:
        source, names = stacks[0][0], target_names(model, lora)
        stacks = [
            (on, count, block + sum(saved_with_adapters(on, source, each, lora, names) for each in layers))
            for (on, count, block), (_, layers) in zip(stacks, linear_stacks(model), strict=True)
        ]
    for (on, layers, block), idle in zip(stacks, idle_blocks, strict=False):
        here = -(-(layers - idle) // pipeline)
        stored = on.elements(on.width, on.stream) if checkpointing else block
        kept += here * stored + saved.ends(on, on.tokens // batch.rows)
        # the gradients of the widest tensors of a block, or of its probabilities, as they replace one another
        passing = on.elements(3 * max(on.hidden, on.width), on.compute)
        working = max(working, passing + (block if checkpointing else 0.0))
    return Activations(kept, working)


def _stacks(
    saved: Saved, shape: Shape, batch: BatchShape, operations: Callable[[int], Operations]
) -> list[tuple[Operations, int, float]]:
    """The stacks of blocks: what their operations are counted by, how many blocks, and what each saves."""
    first = operations(batch.source)
    only = (first, shape.layers, saved.block(first, batch.source))
    if saved.decoder_block is None:
        return [only]
    second = operations(batch.target)
    # autocast copies the encoder's result for the keys and the values of each block
    encoded = first.linear(2) if first.arithmetic == "autocast" else 0.0
    decoder = saved.decoder_block(second, batch.target, batch.source, encoded)
    return [only, (second, decoder_layers(shape), decoder)]
