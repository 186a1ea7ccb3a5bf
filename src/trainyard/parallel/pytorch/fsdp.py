"""Fully sharded data parallel: every process holds a part of weights, gradients and AdamW's state."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from typing_extensions import override

from trainyard.models.blocks import find_blocks
from trainyard.parallel import process_group
from trainyard.parallel.engine import local_part
from trainyard.parallel.pytorch import single


class Engine(single.Engine):
    """torch's FSDP2: `fully_shard` of each block, and of the rest as one.

    Below fp32 the weights are gathered in the precision and gradients summed in fp32; no autocast.
    With the option `offload`, weights, gradients and AdamW's state lie in the host's memory, where
    AdamW computes; a block's weights come to the device while it computes.
    """

    @override
    def _wrap(self, objective: nn.Module) -> nn.Module:
        dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[self.settings.precision]
        mesh = init_device_mesh(self.device.type, (process_group.world_size(),))
        self._shard(objective, mesh, MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32))
        return objective

    def _shard(self, objective: nn.Module, mesh: DeviceMesh, precision: MixedPrecisionPolicy) -> None:
        """Shard each block over `mesh`, and the rest as one; what isn't offloaded comes to the device."""
        offload = OffloadPolicy()
        if self.settings.parallel.options.get("offload"):
            offload = CPUOffloadPolicy(pin_memory=self.device.type == "cuda")
        for module in (*find_blocks(objective), objective):
            fully_shard(module, mesh=mesh, mp_policy=precision, offload_policy=offload)

    @override
    def _autocast(self) -> AbstractContextManager[object]:
        return nullcontext()

    @override
    def _sync_context(self, last: bool) -> AbstractContextManager[None]:
        assert isinstance(self.wrapped, FSDPModule)
        self.wrapped.set_requires_gradient_sync(last)
        return nullcontext()

    @override
    def _local_gradients(self) -> list[Tensor]:
        return [local_part(gradient) for gradient in super()._local_gradients()]

    @override
    def _sum_parts(self, square: float) -> float:
        (total,) = process_group.sum_over_ranks([square])
        return total

    @override
    def _local_model(self) -> dict:
        return {name: local_part(tensor) for name, tensor in super()._local_model().items()}

    @override
    def _load_model(self, state: dict) -> None:
        with torch.no_grad():
            for name, tensor in super()._local_model().items():
                local_part(tensor).copy_(state[name])

    @override
    def _local_optimizer(self) -> dict:
        whole = super()._local_optimizer()
        state = {
            number: {name: local_part(tensor) for name, tensor in entries.items()}
            for number, entries in whole["state"].items()
        }
        return {**whole, "state": state}
