"""Tensor parallel: neighbouring processes share each matrix of one copy of the model."""

from collections import defaultdict
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard, distribute_module, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module
from transformers.pytorch_utils import Conv1D
from typing_extensions import override

from trainyard.core.errors import InputError
from trainyard.models.family import TensorSplit, tensor_split
from trainyard.optim import optimizers
from trainyard.parallel import engine, process_group
from trainyard.parallel.pytorch import fsdp


class Engine(fsdp.Engine):
    """torch's DTensor within a copy of the model; FSDP2 over the copies, where there are several.

    The processes form a mesh (data, tensor). Below fp32 the objective computes under autocast.
    """

    @override
    def _wrap(self, objective: nn.Module) -> nn.Module:
        shape = (self.data_ranks, self.settings.parallel.tensor)
        mesh = init_device_mesh(self.device.type, shape, mesh_dim_names=("data", "tensor"))
        split(self.model, self.settings.family, mesh["tensor"])
        if self.data_ranks > 1:
            self._shard(objective, mesh["data"], MixedPrecisionPolicy())
        return objective.to(self.device)

    @override
    def _optimizer(self) -> torch.optim.Optimizer:
        # one call of the fused kernel takes the tensors of one mesh
        groups = []
        for whole in optimizers.parameter_groups(self.objective, self.settings.train.weight_decay):
            by_mesh = defaultdict(list)
            for parameter in whole["params"]:
                by_mesh[getattr(parameter, "device_mesh", None)].append(parameter)
            groups += [{**whole, "params": parameters} for parameters in by_mesh.values()]
        return torch.optim.AdamW(groups, **optimizers.adamw_arguments(self.settings.train))

    @override
    def full_state(self) -> dict[str, Tensor] | None:
        state = super().full_state()
        return None if state is None else join(state, self.settings.family, self.settings.parallel.tensor)

    @override
    def _autocast(self) -> AbstractContextManager[object]:
        return engine.Engine._autocast(self)

    @override
    def _sync_context(self, last: bool) -> AbstractContextManager[None]:
        return super()._sync_context(last) if self.data_ranks > 1 else nullcontext()

    @override
    def _square_sum(self, gradients: list[Tensor]) -> Tensor:
        # what the processes of a copy all have is counted by the first of them
        first = process_group.rank() % self.settings.parallel.tensor == 0
        parameters = [parameter for parameter in self.objective.parameters() if parameter.grad is not None]
        pairs = zip(gradients, parameters, strict=True)
        return super()._square_sum([gradient for gradient, whole in pairs if first or is_split(whole)])


def split(model: nn.Module, family: str, mesh: DeviceMesh) -> None:
    """Split a model's matrices over `mesh`, in place; every process has the same whole model before.

    Raises:
        InputError: something doesn't divide by the number of processes, or the family's file tells no split.
    """
    plan, styles = tensor_split(family), {}
    _check_heads(model, family, mesh.size())
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if last in plan.columns or last in plan.rows:
            _check_width(module, last, family, last in plan.columns, mesh.size())
            styles[name] = _style(module, last, plan)
        for count in plan.counts & vars(module).keys():
            setattr(module, count, getattr(module, count) // mesh.size())
    parallelize_module(model, mesh, styles, src_data_rank=None)


def join(state: dict[str, Tensor], family: str, processes: int) -> dict[str, Tensor]:
    """The whole model under its own names, with the columns of fused matrices where they belong."""
    fused = tensor_split(family).fused
    if fused is None:
        return state
    module, matrices = fused
    return {
        name: _regroup(tensor, processes, matrices) if f".{module}." in name else tensor
        for name, tensor in state.items()
    }


def is_split(parameter: nn.Parameter) -> bool:
    """Whether the processes of one copy hold parts of a parameter, and not the same whole."""
    if not isinstance(parameter, DTensor):
        return False
    names = parameter.device_mesh.mesh_dim_names or ()
    return any(
        name == "tensor" and not placement.is_replicate()
        for name, placement in zip(names, parameter.placements, strict=True)
    )


def _style(module: nn.Module, name: str, plan: TensorSplit) -> ParallelStyle:
    by_columns = name in plan.columns
    if isinstance(module, Conv1D):
        fused, matrices = plan.fused or ("", 1)
        return _SplitConv1D(by_columns, matrices if name == fused else 1)
    return ColwiseParallel() if by_columns else RowwiseParallel()


class _SplitConv1D(ParallelStyle):
    """As torch's styles for `nn.Linear`, for GPT-2's linear layers, whose weights are (inputs, outputs).

    Queries, keys and values lie side by side in one matrix: its columns are put in another order first, so that
    one process's share is its heads' queries, keys and values.
    """

    def __init__(self, by_columns: bool, fused: int) -> None:
        self.by_columns = by_columns
        self.fused = fused

    @override
    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        return distribute_module(module, device_mesh, self._partition, self._inputs, self._outputs)  # pyright: ignore

    def _partition(self, _name: str, module: nn.Module, mesh: DeviceMesh) -> None:
        placements: dict[str, Placement]
        if self.by_columns:
            placements = {"weight": Shard(1), "bias": Shard(0)}
        else:
            placements = {"weight": Shard(0), "bias": Replicate()}
        for name, placement in placements.items():
            parameter = module.get_parameter(name)
            whole = _regroup(parameter.detach(), self.fused, mesh.size())
            part = distribute_tensor(whole, mesh, [placement], src_data_rank=None)
            module.register_parameter(name, nn.Parameter(part, requires_grad=parameter.requires_grad))

    def _inputs(self, _module: nn.Module, inputs: tuple[Tensor, ...], mesh: DeviceMesh) -> DTensor:
        return DTensor.from_local(inputs[0], mesh, [Replicate() if self.by_columns else Shard(-1)], run_check=False)

    def _outputs(self, _module: nn.Module, outputs: DTensor, _mesh: DeviceMesh) -> Tensor:
        return outputs.redistribute(placements=[Shard(-1) if self.by_columns else Replicate()]).to_local()


def _regroup(tensor: Tensor, outer: int, inner: int) -> Tensor:
    """The last dimension, taken as (outer, inner, rest), put as (inner, outer, rest)."""
    if outer == 1 or inner == 1:
        return tensor
    return tensor.unflatten(-1, (outer, inner, -1)).transpose(-3, -2).flatten(-3).contiguous()


def _check_heads(model: nn.Module, family: str, processes: int) -> None:
    for name in ("num_attention_heads", "num_key_value_heads"):
        count = getattr(model.config, name, None) or processes
        assert isinstance(count, int)
        if count % processes:
            raise _uneven_error(family, f"{count} {'key-value ' if 'key' in name else ''}heads", processes)


def _check_width(module: nn.Module, name: str, family: str, by_columns: bool, processes: int) -> None:
    shape = module.get_parameter("weight").shape
    # nn.Linear has (outputs, inputs), Conv1D and nn.Embedding (inputs, outputs)
    width = shape[0 if isinstance(module, nn.Linear) == by_columns else 1]
    # unequal shares would draw unequal numbers for dropout too, and what should be whole would differ
    if width % processes:
        raise _uneven_error(family, f"{width} {'outputs' if by_columns else 'inputs'} of {name}", processes)


def _uneven_error(family: str, what: str, processes: int) -> InputError:
    return InputError(
        f"config/parallel.yaml: tensor: {processes} processes can't share the {what} of this {family} model evenly; "
        "take another number, or another shape in config/models.yaml"
    )
