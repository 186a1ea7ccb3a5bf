"""What a process of DeepSpeed's and ColossalAI's engines holds, in bytes.

The bytes a parameter are ZeRO's (Rajbhandari et al. 2020): where weights are in 16 bits 2 of the weight, 2 of its
gradient, and 12 of AdamW's masters and moments in fp32. What a framework allocates besides is named with its file.
"""

from dataclasses import replace

from trainyard.parallel.held import Held, Job
from trainyard.parallel.held_torch import ddp, single

# parallel/deepspeed_configuration.py: elements
_BUCKET = 500_000_000


def deepspeed(job: Job) -> Held:
    """ZeRO's levels by the option `stage`."""
    stage = int(job.options["stage"])
    bucket = 4 * min(int(job.options.get("reduce_bucket") or _BUCKET), job.all)
    if stage == 0:  # sums a flat copy of each bucket
        return replace(single(job), exchanged=4 * job.all + bucket)
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
    a flat buffer as large, and gloo's copy of that (runtime/comm/coalesced_collectives.py). An offloaded optimizer
    has a second part of the gradient; one in files has four buffers as large as a part (`buffer_count`), and
    weights in files five as large as the largest (runtime/swap_tensor).
    """
    part = 4 * job.all / job.ranks
    optimizer_at, weights_at = job.options.get("offload_optimizer"), job.options.get("offload_parameters")
    weights = job.size * job.all / job.ranks if weights_at != "nvme" else 5 * job.size * job.head
    optimizer = 3 * part if optimizer_at != "nvme" else 4 * part
    more = part if optimizer_at else 0.0
    always = Held(
        parameters=weights,
        optimizer=optimizer,
        gradients=part + more,
        buffers=bucket,
        gathered=job.size * min(job.blocks, 1e9),
        tables=job.size * job.ends,
        exchanged=2 * bucket + job.size * job.all / job.ranks,
        stepping=part,
    )
    if job.on_cpu or optimizer_at is None:
        return always
    host = optimizer + more + (weights if weights_at else 0.0)
    return replace(always, parameters=0.0 if weights_at else weights, optimizer=0.0, gradients=part, host=host)


def colossalai(job: Job) -> Held | None:
    """ColossalAI's plugins by the option `plugin`; None for one that nobody has counted."""
    plugin = job.options["plugin"]
    if plugin == "torch-ddp":
        return ddp(job)
    counts = {"low-level-zero": _low_level_zero, "gemini": _gemini, "hybrid": _hybrid}
    return counts[plugin](job) if plugin in counts else None


def _low_level_zero(job: Job) -> Held:
    """Weights whole, masters and moments in parts; gradients in parts at level 2 (zero/low_level/low_level_optim.py).

    Gradients are exchanged in flat copies, the largest of them of the table of tokens; level 2 scatters it, in gloo
    through another copy. A step takes the norm of a part in fp64, and gathers weights in flat copies.
    """
    part, table = 4 * job.all / job.ranks, job.size * job.head
    second = int(job.options.get("level", 2)) == 2
    gradients = job.size * job.all / (job.ranks if second else 1)
    blocks = job.size * job.blocks / (job.ranks if second else 1)
    masters = part if job.size == 2 else 0.0  # of gradients; in fp32 they need no copy
    always = Held(
        parameters=job.size * job.all,
        optimizer=3 * part,
        made=blocks,
        between=gradients,
        exchanged=blocks + table * ((3 + 1 / job.ranks) if second else 2),
        stepping=gradients + max(masters + 8 * job.head / job.ranks, table * (2 + 1 / job.ranks)),
    )
    if job.on_cpu or not job.options.get("offload"):
        return always
    return replace(always, optimizer=0.0, host=3 * part)


def _gemini(job: Job) -> Held:
    """Weights in 16 bits, masters and moments, all in parts of chunks (zero/gemini).

    A chunk is gathered while its weights are used, and is where their gradients lie afterwards. What is placed by
    the warm-up is on the host as far as the GPU lacks room: here all of the optimizer.
    """
    part = job.all / job.ranks
    placed = job.options.get("placement") == "auto"
    away = 1.0 if placed else float(job.options.get("offload_optimizer_fraction", 0.0))
    weights_away = 0.0 if placed else float(job.options.get("offload_parameters_fraction", 0.0))
    chunk = job.size * max(job.head, min(2**25, job.all / 8))
    return Held(
        parameters=job.size * part * (1 - weights_away),
        optimizer=12 * part * (1 - away),
        gathered=2 * chunk,
        exchanged=2 * chunk,
        stepping=4 * part * (1 - away),
        host=12 * part * away + job.size * part * weights_away,
    )


def _hybrid(job: Job) -> Held:
    """Tensor and pipeline parallel as in `single`, with ZeRO-1 over the copies of the model where `level` is 1."""
    ranks = job.ranks if int(job.options.get("level", 0)) else 1
    return Held(
        parameters=job.size * job.all,
        optimizer=(12 if job.size == 2 or ranks > 1 else 8) * job.all / ranks,
        made=job.size * job.blocks,
        between=job.size * job.all,
        exchanged=job.size * (job.all + job.head),
        stepping=(job.size + 4 / ranks) * job.all,
    )
