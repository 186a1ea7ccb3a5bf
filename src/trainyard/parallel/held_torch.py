"""What a process of each engine on plain torch holds, in bytes.

The bytes a parameter are ZeRO's (Rajbhandari et al. 2020): 4 of the weight, 4 of its gradient and 8 of AdamW's two
moments, all in fp32.
"""

from dataclasses import replace

from trainyard.parallel.held import Held, Job

# parallel/single.py: bytes of a gradient's pieces in fp64
_NORM_AT_ONCE = 2**25


def single(job: Job) -> Held:
    """One process; a pipeline's process with most."""
    return Held(
        parameters=4 * job.all,
        optimizer=8 * job.all,
        gathered=job.casts,
        made=4 * job.blocks,
        between=4 * job.all,
        stepping=4 * job.all + _NORM_AT_ONCE,
    )


def ddp(job: Job) -> Held:
    """DDP: gradients are views of its buckets, which stay."""
    return replace(single(job), gradients=4 * job.all, made=0.0, between=0.0, stepping=_NORM_AT_ONCE)


def zero1(job: Job) -> Held:
    """ZeroRedundancyOptimizer deals whole parameters out."""
    return replace(ddp(job), optimizer=8 * max(job.all / job.ranks, job.head))


def fsdp(job: Job) -> Held:
    """FSDP2: each block, and the rest as one, are gathered in the dtype that computes; the rest stays for the step.

    A block is gathered while another computes. On a CPU its flat buffer, its weights and its gradients are freed
    among activations that stay, and glibc's heap grows by as much for the next block. Gradients are summed in fp32:
    what goes in, gloo's copy of it, and this process's part of the sum.
    """
    return Held(
        parameters=4 * job.all / job.ranks,
        optimizer=8 * job.all / job.ranks,
        gathered=job.size * (3 * job.blocks if job.on_cpu else 2 * job.block),
        tables=job.size * job.ends,
        made=4 * job.blocks / job.ranks,
        between=job.size * job.all,
        exchanged=4 * job.blocks / job.ranks + 4 * job.ends * (2 + 1 / job.ranks),
        stepping=4 * job.all / job.ranks + _NORM_AT_ONCE,
    )


def tensor(job: Job) -> Held:
    """DTensor; FSDP2 over the copies of the model, where there are several."""
    return fsdp(job) if job.ranks > 1 else single(job)
