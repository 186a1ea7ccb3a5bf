"""The group of processes that trains together, as torchrun's environment describes it."""

import os
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.distributed as dist

from trainyard.core.errors import InputError
from trainyard.core.timeouts import read_timeout
from trainyard.hardware.tf32 import set_tf32

# torchrun's words: how many machines there are, and which of them this one is
_MACHINES = {"GROUP_WORLD_SIZE": "1", "GROUP_RANK": "0"}
# Groups that were left, which stay until the process ends. gloo's destructor waits, with Python's lock, for a thread
# of its own that may wait for this lock to let go of the last tensor: DDP's reducer, freed soon after a sum, hung so.
_left: list[Any] = []


def rank() -> int:
    """This process's number among all."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """This process's number on its own machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def device(kind: Literal["cpu", "cuda"]) -> torch.device:
    """The device of this process: the CPU, or the GPU of its local rank."""
    return torch.device("cuda", local_rank()) if kind == "cuda" else torch.device("cpu")


def start(kind: Literal["cpu", "cuda"]) -> None:
    """Join the group, and compute fp32 in fp32; with one process a group of one, since some frameworks ask for it.

    Raises:
        InputError: this machine has fewer GPUs than processes, or the timeout is no time.
    """
    set_tf32(allowed=False)
    if kind == "cuda":
        if local_rank() >= torch.cuda.device_count():
            raise InputError(
                f"process {local_rank()} of this machine has no GPU: there are {torch.cuda.device_count()}; "
                "ask for as many processes as GPUs, or set device: cpu in config/config.yaml"
            )
        torch.cuda.set_device(local_rank())
    if "MASTER_ADDR" in os.environ:
        dist.init_process_group(**group_arguments(kind), timeout=read_timeout())
    else:
        dist.init_process_group(**group_arguments(kind), store=dist.HashStore(), rank=0, world_size=1)  # pyright: ignore[reportPrivateImportUsage]


def group_arguments(kind: Literal["cpu", "cuda"]) -> dict[str, Any]:
    """The backends of the group and, for NCCL, this process's GPU.

    Told its GPU, NCCL connects at once, where a GPU that is missing or taken is named, and makes other groups of the
    connections there are; else it takes the rank's number for the GPU's, and learns better at the first exchange.
    """
    if kind == "cpu":
        return {"backend": "gloo"}
    return {"backend": "cpu:gloo,cuda:nccl", "device_id": device(kind)}


def stop() -> None:
    """Leave the group, where there is one."""
    if dist.is_initialized():
        _left.extend(dist.distributed_c10d._world.pg_map)  # its only list of all groups
        dist.destroy_process_group()


def sum_over_ranks(values: Sequence[float]) -> list[float]:
    """Each value's sum over all ranks, in double precision; all ranks call it."""
    return _reduce(values, dist.ReduceOp.SUM)


def sum_over_machine(value: float) -> float:
    """The sum over the ranks of this machine; all ranks call it, of other machines too."""
    machines, machine = (int(os.environ.get(name, usual)) for name, usual in _MACHINES.items())
    values = [0.0] * machines
    values[machine] = value
    return sum_over_ranks(values)[machine]


def max_over_ranks(values: Sequence[float]) -> list[float]:
    """Each value's maximum over all ranks; all ranks call it."""
    return _reduce(values, dist.ReduceOp.MAX)


def broadcast(value: int) -> int:
    """Rank 0's `value`, on every rank."""
    box = torch.tensor([value])
    if world_size() > 1:
        dist.broadcast(box, src=0)
    return int(box.item())


def barrier() -> None:
    """Wait until every rank has come here (a sum: a broadcast would not hold up its sender)."""
    sum_over_ranks([0.0])


def _reduce(values: Sequence[float], operation: dist.ReduceOp.RedOpType) -> list[float]:
    box = torch.tensor(values, dtype=torch.float64)
    if world_size() > 1:
        dist.all_reduce(box, op=operation)
    return box.tolist()
