"""A model and its AdamW, boosted by one of ColossalAI's plugins."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainyard.parallel import group
from trainyard.parallel.colossalai_import import Booster, Plugin
from trainyard.parallel.engine import Batch, EngineSettings, fp32_copy


class Boosted(ABC):
    """What ColossalAI's plugins have in common, as far as they do.

    Args:
        objective: what maps a batch to its summed loss, and holds `.model`.
        settings: the engine's.
        plugin: that spreads it.
        optimizer: over the objective's parameters.
        mixed_precision: for a plugin that leaves precision to the booster.
    """

    def __init__(
        self,
        objective: nn.Module,
        settings: EngineSettings,
        plugin: Plugin,
        optimizer: torch.optim.Optimizer,
        mixed_precision: str | None = None,
    ) -> None:
        self.settings = settings
        self.objective = objective
        self.booster = Booster(plugin=plugin, mixed_precision=mixed_precision)
        boosted = self.booster.boost(objective, optimizer)
        self.boosted: Any = boosted[0]
        self.optimizer: Any = boosted[1]

    def accumulate(self, batches: Sequence[Batch], factor: float) -> Tensor:
        """Make the gradient of `factor` times the loss, averaged over data ranks; the batches' summed losses, (n)."""
        losses = []
        for number, batch in enumerate(batches, 1):
            with self._synchronised(number == len(batches)):
                with self._autocast():
                    loss = self._call(batch)
                self.booster.backward(loss * factor, self.optimizer)
            losses.append(loss.detach())
        return torch.stack(losses)

    @abstractmethod
    def step(self, learning_rate: float) -> tuple[float, bool]:
        """Take a step along the gradient, and drop it; its norm before clipping, and whether it was skipped."""

    def scale(self) -> float | None:
        """The factor that the loss is given in fp16; None in other precisions."""
        return None

    def phase(self) -> str | None:
        """The phase of the step to come, for a plugin that has phases."""
        return None

    def loss_sum(self, batch: Batch) -> Tensor:
        """The summed loss of a batch, without dropout or gradient."""
        self.boosted.eval()
        with torch.no_grad(), self._autocast():
            loss = self._call(batch)
        self.boosted.train()
        return loss

    @abstractmethod
    def local_state(self) -> dict[str, Any]:
        """All that this rank holds of weights, optimizer and loss scale."""

    @abstractmethod
    def load_local_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `local_state` gave, bitwise."""

    def full_state(self) -> dict[str, Tensor] | None:
        """The whole model in fp32 on the CPU under its own names, on rank 0; None elsewhere."""
        state = {}
        for name, tensor in self.objective.get_submodule("model").state_dict(keep_vars=True).items():
            whole = self._master(tensor) if isinstance(tensor, nn.Parameter) else tensor
            if group.rank() == 0:
                state[name] = fp32_copy(whole)
        return state or None

    def _call(self, batch: Batch) -> Tensor:
        """The summed loss of a batch, through what is boosted."""
        return self.boosted(**batch)

    def _masters(self) -> list[Tensor]:
        """What this rank's optimizer steps."""
        return [master for parameters in self.optimizer.param_groups for master in parameters["params"]]

    def _master(self, parameter: nn.Parameter) -> Tensor:
        """The whole of a parameter, in fp32 where the optimizer keeps it so; all ranks call it."""
        return parameter

    def _synchronised(self, last: bool) -> AbstractContextManager[None]:
        """The context of one micro-batch; where a plugin can wait, gradients are exchanged in the `last` alone."""
        return nullcontext()

    def _autocast(self) -> AbstractContextManager[object]:
        """The context in which the objective computes; nothing where a plugin casts the model itself."""
        return nullcontext()

    def _set_rate(self, learning_rate: float) -> None:
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = learning_rate


def gathered(part: Tensor, parameter: Tensor, over: dist.ProcessGroup | None = None) -> Tensor:
    """The whole of a parameter's master, of which each process `over` a group holds an equal, padded part."""
    mine = part.detach().to(parameter.device)
    whole = mine.new_empty(mine.numel() * dist.get_world_size(over))
    dist.all_gather_into_tensor(whole, mine, group=over)
    return whole[: parameter.numel()].view_as(parameter)
