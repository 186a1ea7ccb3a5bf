"""What a process of each engine on plain torch holds, in bytes.

The bytes a parameter are ZeRO's (Rajbhandari et al. 2020): 4 of the weight, 4 of its gradient and 8 of AdamW's two
moments, all in fp32.
"""

from dataclasses import replace

from trainyard.parallel.held import Held, Workload

# parallel/single.py: bytes of a gradient's pieces in fp64
_NORM_AT_ONCE = 2**25


def single(load: Workload) -> Held:
    """One process; a pipeline's process with most."""
    return Held(
        parameters=4 * load.all,
        optimizer=8 * load.all,
        gathered=load.casts,
        made=4 * load.blocks,
        between=4 * load.all,
        stepping=4 * load.all + _NORM_AT_ONCE,
    )


def ddp(load: Workload) -> Held:
    """DDP: gradients are views of its buckets, which stay."""
    return replace(single(load), gradients=4 * load.all, made=0.0, between=0.0, stepping=_NORM_AT_ONCE)


def zero1(load: Workload) -> Held:
    """ZeroRedundancyOptimizer deals whole parameters out."""
    return replace(ddp(load), optimizer=8 * max(load.all / load.ranks, load.head))


def fsdp(load: Workload) -> Held:
    """FSDP2: each block, and the rest as one, are gathered in the dtype that computes; the rest stays for the step.

    A block is gathered while another computes. On a CPU its flat buffer, its weights and its gradients are freed
    among activations that stay, and glibc's heap grows by as much for the next block. Gradients are summed in fp32:
    what goes in, gloo's copy of it, and this process's part of the sum.
    """
    return Held(
        parameters=4 * load.all / load.ranks,
        optimizer=8 * load.all / load.ranks,
        gathered=load.size * (3 * load.blocks if load.on_cpu else 2 * load.block),
        tables=load.size * load.ends,
        made=4 * load.blocks / load.ranks,
        between=load.size * load.all,
        exchanged=4 * load.blocks / load.ranks + 4 * load.ends * (2 + 1 / load.ranks),
        stepping=4 * load.all / load.ranks + _NORM_AT_ONCE,
    )


def tensor(load: Workload) -> Held:
    """DTensor; FSDP2 over the copies of the model, where there are several."""
    return fsdp(load) if load.ranks > 1 else single(load)
