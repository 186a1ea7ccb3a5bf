"""What the arithmetic of memory is about, and its results: a workload, what an engine holds for it, and moments."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trainyard.config.catalogue import Model
from trainyard.estimate.activations import Activations
from trainyard.estimate.blocks import Arithmetic, decoder_layers
from trainyard.estimate.families import load_family
from trainyard.estimate.frozen import Frozen
from trainyard.estimate.parameters import head_parameters, parameters, parameters_without_embeddings

# models/loss.py: elements of the logits that are made at once, on a CPU and on a GPU, where the vocabulary is padded
_LOGITS_AT_ONCE = {True: 2**25, False: 2**26}
_MULTIPLE = {(True, 4): 1, (True, 2): 64, (False, 4): 128, (False, 2): 128}


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
        frozen: what keeps its weights.
        adapters: parameters of the adapters in the blocks.
        optimizer: of the training, where processes hold whole matrices.
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
    frozen: Frozen = field(default_factory=Frozen)
    adapters: int = 0
    optimizer: str = "adamw"

    @property
    def moments(self) -> float:
        """Bytes of the optimizer's state: two moments of each parameter, of Muon's matrices one, of Adafactor's none.

        Adafactor's sums over rows and columns, and its moments of vectors, are nothing beside the matrices.
        """
        if self.optimizer == "adafactor":
            return 0.0
        return 8 * self.trained - (4 * self.trained_blocks if self.optimizer == "muon" else 0.0)

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
        return self._inside * own / self.tensor

    @property
    def block(self) -> float:
        """Parameters of one block."""
        return self._inside / self._layers / self.tensor

    @property
    def ends(self) -> float:
        """Parameters of the tables of tokens and positions."""
        return self.all - self.blocks

    @property
    def trained(self) -> float:
        """As `all`, without what is frozen."""
        return self.trained_blocks + self.trained_ends

    @property
    def trained_blocks(self) -> float:
        """As `blocks`, without what is frozen; of a pipeline as if it were of every process alike."""
        return self.blocks * (1 - self.frozen.blocks / self._inside)

    @property
    def trained_ends(self) -> float:
        """As `ends`, without what is frozen."""
        return self.ends - self.frozen.head - self.frozen.positions

    @property
    def trained_head(self) -> int:
        """As `head`; 0 where it is frozen."""
        return 0 if self.frozen.head else self.head

    @property
    def head(self) -> int:
        """The largest parameter: the table of tokens, which is the head too."""
        return head_parameters(self.model)

    @property
    def size(self) -> int:
        """Bytes of a weight that computes, and of its gradient."""
        return 2 if self.arithmetic == "half" else 4

    @property
    def _inside(self) -> int:
        return parameters_without_embeddings(self.model) + self.adapters

    @property
    def _layers(self) -> int:
        shape, family = self.model.shape, load_family(self.model.family)
        return shape.layers + (decoder_layers(shape) if family.is_encoder_decoder else 0)

    @property
    def logits(self) -> float:
        """What the head needs while it makes the loss, besides its gradient in fp32 (models/loss.py)."""
        compute = 4 if self.arithmetic == "fp32" else 2
        vocabulary = self.model.shape.vocabulary
        if self.plain_head:  # all of them, in fp32 too, and their gradient
            return self.positions * vocabulary * (compute + 8)
        slices = math.ceil(self.positions * vocabulary / _LOGITS_AT_ONCE[self.on_cpu])
        one = math.ceil(self.positions / slices) * vocabulary
        product = 0 if compute == 4 else self.head * compute
        copied = self.arithmetic == "autocast" or vocabulary % _MULTIPLE[self.on_cpu, compute]
        return one * compute + product + (self.head * compute if copied else 0)

    @property
    def casts(self) -> float:
        """Autocast's copies of the matrices of the blocks in 16 bits, which the backward pass reads too."""
        return 2 * self.blocks if self.arithmetic == "autocast" else 0.0


@dataclass(frozen=True)
class EngineMemory:
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


# parallel/engine.py: bytes of a gradient's pieces in fp64
_NORM_AT_ONCE = 8 * 2**17


def single(load: Workload) -> EngineMemory:
    """One process; a pipeline's process with most."""
    return EngineMemory(
        parameters=4 * load.all,
        optimizer=load.moments,
        gathered=load.casts,
        made=4 * load.trained_blocks,
        between=4 * load.trained,
        stepping=4 * load.trained + _NORM_AT_ONCE,
    )


def ddp(load: Workload) -> EngineMemory:
    """DDP: gradients are views of its buckets, which stay."""
    return replace(single(load), gradients=4 * load.trained, made=0.0, between=0.0, stepping=_NORM_AT_ONCE)


def zero1(load: Workload) -> EngineMemory:
    """ZeroRedundancyOptimizer deals whole parameters out."""
    return replace(ddp(load), optimizer=8 * max(load.trained / load.ranks, load.trained_head))


def fsdp(load: Workload) -> EngineMemory:
    """FSDP2: each block, and the rest as one, are gathered in the dtype that computes; the rest stays for the step.

    A block is gathered while another computes. On a CPU its flat buffer, its weights and what gradients it has are
    freed among activations that stay, and glibc's heap grows by as much for the next block. Gradients are summed in
    fp32: what goes in, gloo's copy of it, and this process's part of the sum.
    """
    return EngineMemory(
        parameters=4 * load.all / load.ranks,
        optimizer=8 * load.trained / load.ranks,
        gathered=load.size * (2 * load.blocks + load.trained_blocks if load.on_cpu else 2 * load.block),
        tables=load.size * load.ends,
        made=4 * load.trained_blocks / load.ranks,
        between=load.size * load.trained,
        exchanged=4 * load.trained_blocks / load.ranks + 4 * load.trained_ends * (2 + 1 / load.ranks),
        stepping=4 * load.trained / load.ranks + _NORM_AT_ONCE,
    )


def tensor(load: Workload) -> EngineMemory:
    """DTensor; FSDP2 over the copies of the model, where there are several."""
    return fsdp(load) if load.ranks > 1 else single(load)


# parallel/deepspeed/config.py: elements
_BUCKET = 500_000_000
_GPU_BUCKET = 25 * 2**20 // 4


def deepspeed(load: Workload) -> EngineMemory:
    """ZeRO's levels by the option `level`."""
    level = int(load.options["level"])
    usual = _BUCKET if load.on_cpu else max(_GPU_BUCKET, load.head)
    bucket_size = int(load.options.get("reduce_bucket") or min(usual, load.trained))
    filled = 4 * min(bucket_size, load.trained)
    # allocated whole; on a CPU what is never written to takes no memory
    overlapped = 2 if level == 2 else 1  # one travels while the other fills
    bucket = filled if load.on_cpu else 4 * bucket_size * overlapped
    if level == 0:  # sums a flat copy of each bucket
        return replace(single(load), exchanged=4 * load.trained + filled)
    if level == 1 and load.size == 2:
        return _bf16_optimizer(load, filled)
    return _zero_3(load, bucket) if level == 3 else _zero_1_and_2(load, bucket, filled)


def _bf16_optimizer(load: Workload, bucket: float) -> EngineMemory:
    """DeepSpeed's own engine for ZeRO-1 with gradients in fp32, all of which stay (runtime/bf16_optimizer.py).

    They are summed over processes in flat copies, while those in bf16 are still there.
    """
    part = 4 * load.trained / load.ranks
    return EngineMemory(
        parameters=load.size * load.all,
        optimizer=3 * part,
        gradients=4 * load.trained,
        made=2 * load.trained_blocks,
        exchanged=2 * load.trained + bucket,
        stepping=part,
    )


def _zero_1_and_2(load: Workload, bucket: float, filled: float) -> EngineMemory:
    """The weights in one flat tensor, of which each process has its part again as masters.

    Gradients go into a bucket in fp32, which is copied to be summed over processes (`allreduce_bucket` of
    runtime/zero/stage_1_and_2.py); then this process's part of them is made one flat
    tensor, in 16 bits before the bucket is freed.
    """
    part = 4 * load.trained / load.ranks
    always = EngineMemory(
        parameters=load.size * load.all,
        optimizer=3 * part,
        made=min(bucket, 4 * load.trained_blocks),
        between=4 * load.trained if load.options["level"] == 1 else part,
        exchanged=bucket + filled + (part if load.size == 2 else 0.0),
        stepping=2 * part,
    )
    if load.options.get("offload_optimizer") is None:
        return always
    # its part of gradient and of weights, and two buffers of the largest parameter, stay
    buffers = load.size * (load.trained / load.ranks + 2 * load.trained_head)
    if load.on_cpu:
        return replace(always, gradients=part, buffers=buffers, stepping=0.0)
    return replace(always, optimizer=0.0, stepping=0.0, host=4 * part + buffers)


def _zero_3(load: Workload, bucket: float) -> EngineMemory:
    """Each process has its part of weights, of masters (a copy in fp32 too) and of gradients, and a bucket of these.

    What is gathered stays, up to 1e9 elements (stage3_max_live_parameters). The bucket is scattered through
    a flat buffer as large, and gloo's copy of that (runtime/comm/coalesced_collectives.py). An offloaded optimizer
    has a second part of the gradient; one in files has four buffers as large as a part (`buffer_count`), and
    weights in files five as large as the largest (runtime/swap_tensor).
    """
    part = 4 * load.trained / load.ranks
    optimizer_at, weights_at = load.options.get("offload_optimizer"), load.options.get("offload_parameters")
    weights = load.size * load.all / load.ranks if weights_at != "nvme" else 5 * load.size * load.head
    optimizer = 3 * part if optimizer_at != "nvme" else 4 * part
    more = part if optimizer_at else 0.0
    always = EngineMemory(
        parameters=weights,
        optimizer=optimizer,
        gradients=part + more,
        buffers=bucket,
        gathered=load.size * min(load.blocks, 1e9),
        tables=load.size * load.ends,
        exchanged=2 * bucket + load.size * load.trained / load.ranks,
        stepping=part,
    )
    if load.on_cpu or optimizer_at is None:
        return always
    host = optimizer + more + (weights if weights_at else 0.0)
    return replace(always, parameters=0.0 if weights_at else weights, optimizer=0.0, gradients=part, host=host)


def colossalai(load: Workload) -> EngineMemory | None:
    """ColossalAI's plugins by the option `plugin`; None for one that nobody has counted."""
    plugin = load.options["plugin"]
    if plugin == "torch-ddp":
        return ddp(load)
    counts = {"low-level-zero": _low_level_zero, "gemini": _gemini, "hybrid": _hybrid}
    return counts[plugin](load) if plugin in counts else None


def _low_level_zero(load: Workload) -> EngineMemory:
    """Weights whole, masters and moments in parts; gradients in parts at level 2 (zero/low_level/low_level_optim.py).

    Gradients are exchanged in flat copies, the largest of them of the table of tokens; level 2 scatters it, in gloo
    through another copy. A step takes the norm of a part in fp64, and gathers weights in flat copies.
    """
    part, table = 4 * load.trained / load.ranks, load.size * load.trained_head
    second = int(load.options.get("level", 2)) == 2
    gradients = load.size * load.trained / (load.ranks if second else 1)
    blocks = load.size * load.trained_blocks / (load.ranks if second else 1)
    masters = part if load.size == 2 else 0.0  # of gradients; in fp32 they need no copy
    always = EngineMemory(
        parameters=load.size * load.all,
        optimizer=3 * part,
        made=blocks,
        between=gradients,
        exchanged=blocks + table * ((3 + 1 / load.ranks) if second else 2),
        stepping=gradients + max(masters + 8 * load.trained_head / load.ranks, table * (2 + 1 / load.ranks)),
    )
    if load.on_cpu or not load.options.get("offload"):
        return always
    return replace(always, optimizer=0.0, host=3 * part)


def _gemini(load: Workload) -> EngineMemory:
    """Weights in 16 bits, masters and moments, all in parts of chunks (zero/gemini).

    A chunk is gathered while its weights are used, and is where their gradients lie afterwards. What is placed by
    the warm-up is on the host as far as the GPU lacks room: here all of the optimizer.
    """
    part = load.all / load.ranks
    placed = load.options.get("placement") == "auto"
    away = 1.0 if placed else float(load.options.get("offload_optimizer_fraction", 0.0))
    weights_away = 0.0 if placed else float(load.options.get("offload_parameters_fraction", 0.0))
    chunk = load.size * max(load.head, min(2**25, load.all / 8))
    return EngineMemory(
        parameters=load.size * part * (1 - weights_away),
        optimizer=12 * part * (1 - away),
        gathered=2 * chunk,
        exchanged=2 * chunk,
        stepping=4 * part * (1 - away),
        host=12 * part * away + load.size * part * weights_away,
    )


def _hybrid(load: Workload) -> EngineMemory:
    """Tensor and pipeline parallel as in `single`, with ZeRO-1 over the copies of the model where `level` is 1."""
    ranks = load.ranks if int(load.options.get("level", 0)) else 1
    return EngineMemory(
        parameters=load.size * load.all,
        optimizer=(12 if load.size == 2 or ranks > 1 else 8) * load.all / ranks,
        made=load.size * load.blocks,
        between=load.size * load.all,
        exchanged=load.size * (load.all + load.head),
        stepping=(load.size + 4 / ranks) * load.all,
    )
