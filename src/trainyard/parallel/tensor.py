"""Tensor parallel: neighbouring processes share each matrix of one copy of the model."""

from collections import defaultdict
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy
from typing_extensions import override

from trainyard.parallel import engine, fsdp, group, plans


class Engine(fsdp.Engine):
    """torch's DTensor within a copy of the model; FSDP2 over the copies, where there are several.

    The processes form a mesh (data, tensor). Below fp32 the objective computes under autocast.
    """

    @override
    def _wrap(self, objective: nn.Module) -> nn.Module:
        shape = (self.data_ranks, self.settings.tensor)
        mesh = init_device_mesh(self.device.type, shape, mesh_dim_names=("data", "tensor"))
        plans.split(self.model, self.settings.family, mesh["tensor"])
        if self.data_ranks > 1:
            self._shard(objective, mesh["data"], MixedPrecisionPolicy())
        return objective.to(self.device)

    @override
    def _optimizer(self) -> torch.optim.Optimizer:
        # one call of the fused kernel takes the tensors of one mesh
        groups = []
        for whole in engine.parameter_groups(self.objective, self.settings.weight_decay):
            by_mesh = defaultdict(list)
            for parameter in whole["params"]:
                by_mesh[getattr(parameter, "device_mesh", None)].append(parameter)
            groups += [{**whole, "params": parameters} for parameters in by_mesh.values()]
        return torch.optim.AdamW(groups, **engine.adamw_arguments(self.settings))

    @override
    def full_state(self) -> dict[str, Tensor] | None:
        state = super().full_state()
        return None if state is None else plans.joined(state, self.settings.family, self.settings.tensor)

    @override
    def _autocast(self) -> AbstractContextManager[object]:
        return engine.Engine._autocast(self)

    @override
    def _synchronised(self, last: bool) -> AbstractContextManager[None]:
        return super()._synchronised(last) if self.data_ranks > 1 else nullcontext()

    @override
    def _square_sum(self, gradients: list[Tensor]) -> float:
        # what the processes of a copy all have is counted by the first of them
        first = group.rank() % self.settings.tensor == 0
        parameters = [parameter for parameter in self.objective.parameters() if parameter.grad is not None]
        pairs = zip(gradients, parameters, strict=True)
        return super()._square_sum([gradient for gradient, whole in pairs if first or plans.is_split(whole)])
