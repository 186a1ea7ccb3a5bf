"""What the arithmetic of memory is about, and its results: a workload, what an engine holds for it, and moments."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainyard.config.catalogue import Model
from trainyard.config.shapes import decoder_layers, head_parameters, parameters, parameters_without_embeddings
from trainyard.parallel.activations import Activations, Arithmetic

# models/objective.py: elements of the logits that are made at once
_LOGITS_AT_ONCE = {True: 2**25, False: 2**28}


@dataclass(frozen=True)
class Moment:
    """What lies in the memory of the device that computes, and in the host's besides where that is a GPU."""

    name: str
    parameters: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    buffers: float = 0.0
    host: float = 0.0

    @property
    def total(self) -> float:
        """Of the device that computes."""
        return self.parameters + self.gradients + self.optimizer + self.activations + self.buffers


@dataclass(frozen=True)
class Workload:
    """What the arithmetic is about.

    Attributes:
        model: the catalogue's entry.
        arithmetic: of forward and backward passes.
        activations: of what a process has in flight.
        positions: whose logits a process makes at once.
        ranks: processes with data of their own.
        tensor: processes that share each matrix.
        pipeline: processes that share the blocks.
        options: the parallel setting's.
        on_cpu: whether the CPU computes; what is offloaded lies in the same memory then.
        plain_head: whether the logits of all positions are made at once.
    """

    model: Model
    arithmetic: Arithmetic
    activations: Activations
    positions: int
    ranks: int = 1
    tensor: int = 1
    pipeline: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    on_cpu: bool = True
    plain_head: bool = False

    @property
    def whole(self) -> int:
        """Parameters of the model."""
        return parameters(self.model)

    @property
    def all(self) -> float:
        """Parameters of one process before data ranks share any; of the one with most, and with both tables."""
        return self.blocks + self.whole - parameters_without_embeddings(self.model)

    @property
    def blocks(self) -> float:
        """Parameters of the blocks of one process."""
        own = math.ceil(self._layers / self.pipeline) / self._layers
        return parameters_without_embeddings(self.model) * own / self.tensor

    @property
    def block(self) -> float:
        """Parameters of one block."""
        return parameters_without_embeddings(self.model) / self._layers / self.tensor

    @property
    def ends(self) -> float:
        """Parameters of the tables of tokens and positions."""
        return self.all - self.blocks

    @property
    def head(self) -> int:
        """The largest parameter: the table of tokens, which is the head too."""
        return head_parameters(self.model)

    @property
    def size(self) -> int:
        """Bytes of a weight that computes, and of its gradient."""
        return 2 if self.arithmetic == "half" else 4

    @property
    def _layers(self) -> int:
        shape = self.model.shape
        return shape.layers + (decoder_layers(shape) if self.model.sequence_to_sequence else 0)

    @property
    def logits(self) -> float:
        """What the head needs while it makes the loss, besides its gradient in fp32 (models/objective.py)."""
        compute = 4 if self.arithmetic == "fp32" else 2
        vocabulary = self.model.shape.vocabulary
        if self.plain_head:  # all of them, in fp32 too, and their gradient
            return self.positions * vocabulary * (compute + 8)
        slices = math.ceil(self.positions * vocabulary / _LOGITS_AT_ONCE[self.on_cpu])
        one = math.ceil(self.positions / slices) * vocabulary
        scores = 0 if self.on_cpu else one * 8  # their logarithm in fp32 and its exponential, of all rows at once
        product = 0 if slices == 1 and compute == 4 else self.head * compute
        matrix = 2 * self.head if self.arithmetic == "autocast" else 0
        return one * compute + scores + product + matrix

    @property
    def casts(self) -> float:
        """Autocast's copies of the matrices of the blocks in 16 bits, which the backward pass reads too."""
        return 2 * self.blocks if self.arithmetic == "autocast" else 0.0


@dataclass(frozen=True)
class Held:
    """What a process of an engine holds, in bytes.

    Attributes:
        parameters: always.
        optimizer: always, from the first step.
        gradients: always, from the first step: in buffers that stay.
        buffers: always, from the first step.
        gathered: weights of blocks that come for forward and backward passes.
        tables: as `gathered`, of what is outside of the blocks.
        made: gradients of the blocks, as the backward pass leaves them.
        between: gradients that stay from one micro-batch to the next of a step.
        exchanged: gradients and buffers while processes sum gradients.
        stepping: gradients and buffers while the optimizer steps.
        host: in the host's memory, where a GPU computes.
    """

    parameters: float
    optimizer: float
    gradients: float = 0.0
    buffers: float = 0.0
    gathered: float = 0.0
    tables: float = 0.0
    made: float = 0.0
    between: float = 0.0
    exchanged: float = 0.0
    stepping: float = 0.0
    host: float = 0.0
