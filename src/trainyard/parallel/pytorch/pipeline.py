"""Pipeline parallel: the blocks of one copy of the model are laid over neighbouring processes."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
from typing_extensions import override

from trainyard.core.errors import InputError
from trainyard.models.family import pipeline_split
from trainyard.parallel import process_group
from trainyard.parallel.engine import Batch, EngineSettings, copy_to_fp32
from trainyard.parallel.pytorch import single


class Engine(single.Engine):
    """torch's pipelining within a copy of the model; over copies, gradients are summed once a step.

    The processes form a mesh (data, pipeline). The micro-batches of a step follow one another through the
    blocks, one forward, one backward; where they are fewer than the processes, each is cut into smaller ones.
    An embedding that the head shares lies on the first process and on the last: both get the sum of its gradients.
    """

    def __init__(self, objective: nn.Module, settings: EngineSettings) -> None:
        self._schedules: dict[tuple[int, int, int], Any] = {}
        self._losses: list[Tensor] = []
        self._factor = 1.0
        super().__init__(objective, settings)

    @override
    def row_losses(self, batch: Batch) -> Tensor:
        here = self._to_device(batch)
        tokens = here["input_ids"]
        self.objective.eval()
        with torch.no_grad():
            x = tokens if self.stage.first else torch.empty(*tokens.shape, self._width, device=self.device)
            if not self.stage.first:
                dist.recv(x, src=process_group.rank() - 1, group=self._copy)
            x = self.stage(x)
            if self.stage.last:
                losses = self._loss_of(x, here["labels"], by_row=True)
            else:
                dist.send(x.contiguous(), dst=process_group.rank() + 1, group=self._copy)
                losses = torch.empty(len(tokens), dtype=torch.float64, device=self.device)
        self.objective.train()
        dist.broadcast(losses, group=self._copy, group_src=self.settings.parallel.pipeline - 1)
        return losses

    @override
    def full_state(self) -> dict[str, Tensor] | None:
        if self.data_rank != 0:
            return None
        own, state = self.model.state_dict(), {}
        for (name, whole), owner in zip(self._whole.items(), self._owners, strict=True):
            if owner == process_group.rank():
                state[name] = copy_to_fp32(own[name])
                if owner != 0:
                    dist.send(state.pop(name), dst=0)
            elif process_group.rank() == 0:
                state[name] = torch.empty_like(whole, device="cpu")
                dist.recv(state[name], src=owner)
        return state if process_group.rank() == 0 else None

    @override
    def _wrap(self, objective: nn.Module) -> nn.Module:
        stages, index = self.settings.parallel.pipeline, process_group.rank() % self.settings.parallel.pipeline
        mesh = init_device_mesh(self.device.type, (self.data_ranks, stages), mesh_dim_names=("data", "pipeline"))
        self._copy, self._copies = mesh.get_group("pipeline"), mesh.get_group("data")
        model: Any = self.model
        self._width, self._head_width = model.config.hidden_size, self._head().in_features
        self._tied = self._head().weight is token_embedding(self.model, self.settings.family)
        self._whole = {name: tensor.to("meta", torch.float32) for name, tensor in self.model.state_dict().items()}
        self.stage = Stage(self.model, self.settings.family, index, stages, self._autocast)
        own = self.model.state_dict().keys()
        first_copy = self.data_rank == 0
        ranks = [process_group.rank() if first_copy and name in own else 0 for name in self._whole]
        self._owners = [int(owner) for owner in process_group.sum_over_ranks(ranks)]
        for copy in range(self.data_ranks):
            ends = dist.new_group([copy * stages, (copy + 1) * stages - 1])
            if copy == self.data_rank:
                self._ends = ends
        # NCCL wants every process of a group at its first exchange, and a schedule's is between two
        dist.all_reduce(torch.zeros((), device=self.device), group=self._copy)
        if self.settings.train.compile:
            self.stage.compile()
        return objective.to(self.device)

    @override
    def _accumulate(self, micro_batches: Sequence[Batch], factor: float) -> Tensor:
        self._factor = factor / self.data_ranks  # gradients are summed over copies
        here = [self._to_device(batch) for batch in micro_batches]
        tokens = torch.cat([batch["input_ids"] for batch in here])
        schedule = self._schedule(len(here), *here[0]["input_ids"].shape)
        first = [tokens] if self.stage.first else []
        labels = torch.cat([batch["labels"] for batch in here]) if self.stage.last else None
        schedule.step(*first, target=labels, return_outputs=False)
        if self._shared_weight is not None and self._shared_weight.grad is not None:
            dist.all_reduce(self._shared_weight.grad, group=self._ends)
        if self.data_ranks > 1:
            for gradient in self._local_gradients():
                dist.all_reduce(gradient, group=self._copies)
        losses, self._losses = self._losses, []
        return torch.stack(losses) if losses else torch.zeros(1, device=self.device)

    @override
    def _square_sum(self, gradients: list[Tensor]) -> Tensor:
        # the copies have the same gradients, and so have both ends of an embedding that the head shares
        counted = []
        if self.data_rank == 0:
            twice = self._shared_weight.grad if self._shared_weight is not None and not self.stage.first else None
            counted = [gradient for gradient in gradients if gradient is not twice]
        return super()._square_sum(counted)

    @override
    def _sum_parts(self, square: float) -> float:
        (total,) = process_group.sum_over_ranks([square])
        return total

    @property
    def _shared_weight(self) -> Tensor | None:
        """This process's copy of a weight that embedding and head share, on the first and the last."""
        if not self._tied:
            return None
        if self.stage.first:
            return token_embedding(self.model, self.settings.family)
        return self._head().weight if self.stage.last else None

    def _schedule(self, micro_batches: int, rows: int, time: int) -> Any:
        """The order of work for so many micro-batches of such a shape; made once."""
        key = (micro_batches, rows, time)
        if key not in self._schedules:
            stages = self.settings.parallel.pipeline
            divisors = [number for number in range(1, rows + 1) if rows % number == 0]
            pieces = next((number for number in divisors if micro_batches * number >= stages), rows)
            chunks = micro_batches * pieces
            shape = (rows // pieces, time)
            tokens = torch.empty(*shape, dtype=torch.int64, device=self.device)
            hidden = torch.empty(*shape, self._width, device=self.device, requires_grad=True)
            read = torch.empty(*shape, self._head_width, device=self.device, requires_grad=True)
            stage = PipelineStage(
                self.stage,
                process_group.rank() % stages,
                stages,
                self.device,
                input_args=tokens if self.stage.first else hidden,
                output_args=read if self.stage.last else hidden,
                group=self._copy,
            )
            kind = Schedule1F1B if chunks >= stages else ScheduleGPipe
            self._schedules[key] = kind(stage, chunks, self._loss, scale_grads=False)
        return self._schedules[key]

    def _loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """The loss of one piece on the last process, in the scale of the step."""
        loss = self._loss_of(hidden, labels)
        self._losses.append(loss.detach())
        return loss * self._factor

    def _head(self) -> nn.Linear:
        model: Any = self.model
        return model.get_output_embeddings()

    def _loss_of(self, hidden: Tensor, labels: Tensor, by_row: bool = False) -> Tensor:
        with self._autocast():
            return self._head()(hidden, labels, by_row)


class Stage(nn.Module):
    """What one process computes of a model: some blocks, and at the ends what comes before and after them.

    The model keeps its names and loses, in place, all that other processes hold.

    Args:
        model: a whole model, the same on every process.
        family: its family.
        index: of this process among those that share the model.
        stages: how many they are.
        autocast: makes the context in which it computes.

    Raises:
        InputError: there are fewer blocks than processes, or the family's file tells no split.
    """

    def __init__(
        self, model: nn.Module, family: str, index: int, stages: int, autocast: Callable[[], AbstractContextManager]
    ) -> None:
        super().__init__()
        self._autocast = autocast
        self._split = pipeline_split(family)
        self.first, self.last = index == 0, index == stages - 1
        self.trunk: Any = model.get_submodule(self._split.trunk)
        blocks = self.trunk.get_submodule(self._split.blocks)
        bounds = _bounds(len(blocks), stages)
        self._own = range(*bounds[index])
        for number in range(len(blocks)):
            if number not in self._own:
                setattr(blocks, str(number), None)
        if not self.last:
            model.lm_head = None  # pyright: ignore[reportArgumentType]
        for names, here in ((self._split.before, self.first), (self._split.after, self.last)):
            for name in names if not here else ():
                setattr(self.trunk, name, None)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (batch, time) on the first process, else hidden states, to hidden states (batch, time, width)."""
        blocks = self.trunk.get_submodule(self._split.blocks)
        with self._autocast():
            if self.first:
                x = self._split.embed(self.trunk, x)
            for number in self._own:
                x = self._split.run(self.trunk, blocks[number], x)
            return self._split.finish(self.trunk, x) if self.last else x


def token_embedding(model: nn.Module, family: str) -> nn.Parameter:
    """The weight of the embedding of tokens."""
    split = pipeline_split(family)
    return model.get_submodule(f"{split.trunk}.{split.before[0]}").get_parameter("weight")


def _bounds(blocks: int, stages: int) -> list[tuple[int, int]]:
    """First and last block, exclusive, of each process: as even as can be, and the first, without the head, no less."""
    if blocks < stages:
        raise InputError(
            f"config/parallel.yaml: pipeline: {stages} processes can't share {blocks} blocks; take fewer processes, "
            "or a deeper model"
        )
    return list(pairwise(-(-index * blocks // stages) for index in range(stages + 1)))
