"""What a process of DeepSpeed's and ColossalAI's engines holds, in bytes.

The bytes a parameter are ZeRO's (Rajbhandari et al. 2020): where weights are in 16 bits 2 of the weight, 2 of its
gradient, and 12 of AdamW's masters and moments in fp32. What a framework allocates besides is named with its file.
"""

from dataclasses import replace

from trainyard.parallel.held import Held, Workload
from trainyard.parallel.held_torch import ddp, single

# parallel/deepspeed_configuration.py: elements
_BUCKET = 500_000_000


def deepspeed(load: Workload) -> Held:
    """ZeRO's levels by the option `stage`."""
    stage = int(load.options["stage"])
    told = int(load.options.get("reduce_bucket") or min(_BUCKET, load.all))
    filled = 4 * min(told, load.all)
    # allocated whole; on a CPU what is never written to takes no memory
    bucket = filled if load.on_cpu else 4 * told
    if stage == 0:  # sums a flat copy of each bucket
        return replace(single(load), exchanged=4 * load.all + filled)
    if stage == 1 and load.size == 2:
        return _bf16_optimizer(load, filled)
    return _zero_3(load, bucket) if stage == 3 else _zero_1_and_2(load, bucket, filled)


def _bf16_optimizer(load: Workload, bucket: float) -> Held:
    """DeepSpeed's own engine for ZeRO-1 with gradients in fp32, all of which stay (runtime/bf16_optimizer.py).

    They are summed over processes in flat copies, while those in bf16 are still there.
    """
    part = 4 * load.all / load.ranks
    return Held(
        parameters=load.size * load.all,
        optimizer=3 * part,
        gradients=4 * load.all,
        made=2 * load.blocks,
        exchanged=2 * load.all + bucket,
        stepping=part,
    )


def _zero_1_and_2(load: Workload, bucket: float, filled: float) -> Held:
    """The weights in one flat tensor, of which each process has its part again as masters.

    Gradients go into a bucket in fp32, which is copied to be summed over processes (`allreduce_bucket` of
    runtime/zero/stage_1_and_2.py); then this process's part of them is made one flat
    tensor, in 16 bits before the bucket is freed.
    """
    part = 4 * load.all / load.ranks
    always = Held(
        parameters=load.size * load.all,
        optimizer=3 * part,
        made=min(bucket, 4 * load.blocks),
        between=4 * load.all if load.options["stage"] == 1 else part,
        exchanged=bucket + filled + (part if load.size == 2 else 0.0),
        stepping=2 * part,
    )
    if load.options.get("offload_optimizer") is None:
        return always
    # its part of gradient and of weights, and two buffers of the largest parameter, stay
    buffers = load.size * (load.all / load.ranks + 2 * load.head)
    if load.on_cpu:
        return replace(always, gradients=part, buffers=buffers, stepping=0.0)
    return replace(always, optimizer=0.0, stepping=0.0, host=4 * part + buffers)


def _zero_3(load: Workload, bucket: float) -> Held:
    """Each process has its part of weights, of masters (a copy in fp32 too) and of gradients, and a bucket of these.

    What is gathered stays, up to 1e9 elements (stage3_max_live_parameters). The bucket is scattered through
    a flat buffer as large, and gloo's copy of that (runtime/comm/coalesced_collectives.py). An offloaded optimizer
    has a second part of the gradient; one in files has four buffers as large as a part (`buffer_count`), and
    weights in files five as large as the largest (runtime/swap_tensor).
    """
    part = 4 * load.all / load.ranks
    optimizer_at, weights_at = load.options.get("offload_optimizer"), load.options.get("offload_parameters")
    weights = load.size * load.all / load.ranks if weights_at != "nvme" else 5 * load.size * load.head
    optimizer = 3 * part if optimizer_at != "nvme" else 4 * part
    more = part if optimizer_at else 0.0
    always = Held(
        parameters=weights,
        optimizer=optimizer,
        gradients=part + more,
        buffers=bucket,
        gathered=load.size * min(load.blocks, 1e9),
        tables=load.size * load.ends,
        exchanged=2 * bucket + load.size * load.all / load.ranks,
        stepping=part,
    )
    if load.on_cpu or optimizer_at is None:
        return always
    host = optimizer + more + (weights if weights_at else 0.0)
    return replace(always, parameters=0.0 if weights_at else weights, optimizer=0.0, gradients=part, host=host)


def colossalai(load: Workload) -> Held | None:
    """ColossalAI's plugins by the option `plugin`; None for one that nobody has counted."""
    plugin = load.options["plugin"]
    if plugin == "torch-ddp":
        return ddp(load)
    counts = {"low-level-zero": _low_level_zero, "gemini": _gemini, "hybrid": _hybrid}
    return counts[plugin](load) if plugin in counts else None


def _low_level_zero(load: Workload) -> Held:
    """Weights whole, masters and moments in parts; gradients in parts at level 2 (zero/low_level/low_level_optim.py).

    Gradients are exchanged in flat copies, the largest of them of the table of tokens; level 2 scatters it, in gloo
    through another copy. A step takes the norm of a part in fp64, and gathers weights in flat copies.
    """
    part, table = 4 * load.all / load.ranks, load.size * load.head
    second = int(load.options.get("level", 2)) == 2
    gradients = load.size * load.all / (load.ranks if second else 1)
    blocks = load.size * load.blocks / (load.ranks if second else 1)
    masters = part if load.size == 2 else 0.0  # of gradients; in fp32 they need no copy
    always = Held(
        parameters=load.size * load.all,
        optimizer=3 * part,
        made=blocks,
        between=gradients,
        exchanged=blocks + table * ((3 + 1 / load.ranks) if second else 2),
        stepping=gradients + max(masters + 8 * load.head / load.ranks, table * (2 + 1 / load.ranks)),
    )
    if load.on_cpu or not load.options.get("offload"):
        return always
    return replace(always, optimizer=0.0, host=3 * part)


def _gemini(load: Workload) -> Held:
    """Weights in 16 bits, masters and moments, all in parts of chunks (zero/gemini).

    A chunk is gathered while its weights are used, and is where their gradients lie afterwards. What is placed by
    the warm-up is on the host as far as the GPU lacks room: here all of the optimizer.
    """
    part = load.all / load.ranks
    placed = load.options.get("placement") == "auto"
    away = 1.0 if placed else float(load.options.get("offload_optimizer_fraction", 0.0))
    weights_away = 0.0 if placed else float(load.options.get("offload_parameters_fraction", 0.0))
    chunk = load.size * max(load.head, min(2**25, load.all / 8))
    return Held(
        parameters=load.size * part * (1 - weights_away),
        optimizer=12 * part * (1 - away),
        gathered=2 * chunk,
        exchanged=2 * chunk,
        stepping=4 * part * (1 - away),
        host=12 * part * away + load.size * part * weights_away,
    )


def _hybrid(load: Workload) -> Held:
    """Tensor and pipeline parallel as in `single`, with ZeRO-1 over the copies of the model where `level` is 1."""
    ranks = load.ranks if int(load.options.get("level", 0)) else 1
    return Held(
        parameters=load.size * load.all,
        optimizer=(12 if load.size == 2 or ranks > 1 else 8) * load.all / ranks,
        made=load.size * load.blocks,
        between=load.size * load.all,
        exchanged=load.size * (load.all + load.head),
        stepping=(load.size + 4 / ranks) * load.all,
    )
