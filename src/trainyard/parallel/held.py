"""What one process of each engine holds at the moments of a training, in bytes.

The bytes a parameter are ZeRO's (Rajbhandari et al. 2020): in fp32 4 of the weight, 4 of its gradient and 8 of
AdamW's two moments; where weights are in 16 bits 2 + 2, and 12 of fp32 masters and moments. What an engine or its
framework allocates besides is named with the file that does it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trainyard.config.catalogue import Model
from trainyard.config.shapes import decoder_layers, head_parameters, parameters, parameters_without_embeddings
from trainyard.parallel.activations import Activations, Arithmetic

# models/objective.py: elements of the logits that are made at once
_LOGITS_AT_ONCE = {True: 2**25, False: 2**28}
# parallel/deepspeed_configuration.py: elements
_BUCKET = 500_000_000
# parallel/single.py: bytes of a gradient's pieces in fp64
_NORM_AT_ONCE = 2**25


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
class Job:
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
        accumulates: whether a step has several micro-batches.
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
    accumulates: bool = False

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
        gathered: weights that come for forward and backward passes.
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
    made: float = 0.0
    between: float = 0.0
    exchanged: float = 0.0
    stepping: float = 0.0
    host: float = 0.0


def held(engine: str, job: Job) -> Held | None:
    """What a process of an engine holds; None where nobody has counted it."""
    count = _ENGINES.get(engine)
    return None if count is None else count(job)


def _single(job: Job) -> Held:
    return Held(
        parameters=4 * job.all,
        optimizer=8 * job.all,
        gathered=job.casts,
        made=4 * job.blocks,
        between=4 * job.all,
        stepping=4 * job.all + _NORM_AT_ONCE,
    )


def _ddp(job: Job) -> Held:
    # gradients are views of DDP's buckets, which stay
    return replace(_single(job), gradients=4 * job.all, made=0.0, between=0.0, stepping=_NORM_AT_ONCE)


def _zero1(job: Job) -> Held:
    # ZeroRedundancyOptimizer deals whole parameters out
    return replace(_ddp(job), optimizer=8 * max(job.all / job.ranks, job.head))


def _fsdp(job: Job) -> Held:
    """FSDP2: each block, and the rest as one, are gathered in the dtype that computes; the rest stays for the step.

    A block is gathered while another computes. Gradients are summed in fp32: what goes in, gloo's copy of it,
    and this process's part of the sum.
    """
    return Held(
        parameters=4 * job.all / job.ranks,
        optimizer=8 * job.all / job.ranks,
        gathered=job.size * (job.ends + 2 * job.block),
        made=4 * job.blocks / job.ranks,
        between=job.size * job.all,
        exchanged=4 * job.blocks / job.ranks + 4 * job.ends * (2 + 1 / job.ranks),
        stepping=4 * job.all / job.ranks + _NORM_AT_ONCE,
    )


def _tensor(job: Job) -> Held:
    return _fsdp(job) if job.ranks > 1 else _single(job)


def _deepspeed(job: Job) -> Held:
    stage = int(job.options["stage"])
    bucket = 4 * min(int(job.options.get("reduce_bucket") or _BUCKET), job.all)
    if stage == 0:  # sums a flat copy of each bucket
        return replace(_single(job), exchanged=4 * job.all + bucket)
    if stage == 1 and job.size == 2:
        return _bf16_optimizer(job, bucket)
    return _zero_3(job, bucket) if stage == 3 else _zero_1_and_2(job, bucket)


def _bf16_optimizer(job: Job, bucket: float) -> Held:
    """DeepSpeed's own engine for ZeRO-1 with gradients in fp32, all of which stay (runtime/bf16_optimizer.py).

    They are summed over processes in flat copies, while those in bf16 are still there.
    """
    part = 4 * job.all / job.ranks
    return Held(
        parameters=job.size * job.all,
        optimizer=3 * part,
        gradients=4 * job.all,
        made=2 * job.blocks,
        exchanged=2 * job.all + bucket,
        stepping=part,
    )


def _zero_1_and_2(job: Job, bucket: float) -> Held:
    """The weights in one flat tensor, of which each process has its part again as masters.

    Gradients go into a bucket in fp32, which is copied to be summed over processes (`allreduce_bucket` of
    runtime/zero/stage_1_and_2.py); then this process's part of them is made one flat
    tensor, in 16 bits before the bucket is freed.
    """
    part = 4 * job.all / job.ranks
    always = Held(
        parameters=job.size * job.all,
        optimizer=3 * part,
        made=min(bucket, 4 * job.blocks),
        between=4 * job.all if job.options["stage"] == 1 else part,
        exchanged=2 * bucket + (part if job.size == 2 else 0.0),
        stepping=2 * part,
    )
    if job.options.get("offload_optimizer") is None:
        return always
    # its part of gradient and of weights, and two buffers of the largest parameter, stay
    buffers = job.size * (job.all / job.ranks + 2 * job.head)
    if job.on_cpu:
        return replace(always, gradients=part, buffers=buffers, stepping=0.0)
    return replace(always, optimizer=0.0, stepping=0.0, host=4 * part + buffers)


def _zero_3(job: Job, bucket: float) -> Held:
    """Each process has its part of weights, of masters (a copy in fp32 too) and of gradients, and a bucket of these.

    What is gathered stays, up to 1e9 elements (stage3_max_live_parameters). The bucket is scattered through
    a flat buffer as large, and gloo's copy of that (runtime/comm/coalesced_collectives.py).
    """
    part = 4 * job.all / job.ranks
    return Held(
        parameters=job.size * job.all / job.ranks,
        optimizer=3 * part,
        gradients=part,
        buffers=bucket,
        gathered=job.size * min(job.all, 1e9),
        exchanged=bucket * (2 + 1 / job.ranks),
        stepping=part,
    )


_ENGINES: dict[str, Callable[[Job], Held]] = {
    "single": _single,
    "ddp": _ddp,
    "zero1": _zero1,
    "fsdp": _fsdp,
    "tensor": _tensor,
    "pipeline": _single,
    "deepspeed": _deepspeed,
}
