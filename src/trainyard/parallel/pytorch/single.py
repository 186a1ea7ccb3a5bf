"""One process; and what every engine on plain torch shares."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from typing_extensions import override

from trainyard.optim import optimizers
from trainyard.optim.loss_scale import LossScale
from trainyard.parallel import engine, process_group
from trainyard.parallel.engine import Batch, EngineSettings, Step, copy_to_fp32


class Engine(engine.Engine):
    """An optimizer on fp32 weights, with autocast below fp32 and a loss scale in fp16.

    ddp, zero1 and fsdp are this engine with other `_wrap`, `_optimizer` and files.
    The option `ranks` makes it the reference of so many processes.
    """

    def __init__(self, objective: nn.Module, settings: EngineSettings) -> None:
        super().__init__(objective, settings)
        self.wrapped = self._wrap(objective)
        self.optimizer = self._optimizer()
        self.ranks = int(settings.parallel.options.get("ranks", 1))
        self.scale = LossScale(settings.precision == "fp16", settings.train.initial_loss_scale)

    @override
    def train_step(self, micro_batches: Sequence[Batch], learning_rate: float) -> Step:
        (tokens,) = self.sum_over_data_ranks([engine.count_predicted(micro_batches)])
        scale = self.scale.value
        # Gradients are averaged over data ranks; this factor makes the average the mean over all tokens.
        losses = self._accumulate(micro_batches, self.data_ranks / tokens * scale)
        gradients = self._local_gradients()
        square, loss = engine.read_together(self._square_sum(gradients), losses.double().sum())
        norm = math.sqrt(self._sum_parts(square)) / scale
        self._clip(gradients, norm)
        optimizers.set_hyperparameters(self.optimizer.param_groups, self.settings.train, learning_rate)
        skipped = self.scale.is_overflow(norm)
        if not skipped:
            self.optimizer.step()
        self.scale.update(skipped)
        self.optimizer.zero_grad(set_to_none=True)
        (total,) = self.sum_over_data_ranks([loss])
        log_scale = scale if self.settings.precision == "fp16" else None
        return Step(total / tokens, norm, int(tokens), skipped=skipped, loss_scale=log_scale)

    @override
    def files(self) -> dict[str, Any]:
        return self._state_files(
            lambda: {
                "model": self._local_model(),
                "optimizer": self._local_optimizer(),
                "scale": self.scale.state_dict(),
            }
        )

    @override
    def load(self, folder: Path) -> None:
        state = engine.read_state(folder / self._state_file)
        self._load_model(state["model"])
        self._load_optimizer(state["optimizer"])
        self.scale.load_state_dict(state["scale"])

    @override
    def full_state(self) -> dict[str, Tensor] | None:
        state = {}
        for name, tensor in self.model.state_dict().items():
            here = tensor.to(self.device)  # where processes can exchange it
            whole = here.full_tensor() if isinstance(here, DTensor) else here
            if process_group.rank() == 0:
                state[name] = copy_to_fp32(whole)
        return state or None

    def _wrap(self, objective: nn.Module) -> nn.Module:
        """Put the objective on this rank's device; give what is called in training: itself, or what spreads it."""
        return objective.to(self.device)

    def _optimizer(self) -> torch.optim.Optimizer:
        return optimizers.build_optimizer(self.objective, self.settings.train)

    def _accumulate(self, micro_batches: Sequence[Batch], factor: float) -> Tensor:
        """Make the gradient of `factor` times the loss, averaged over data ranks; the micro-batches' losses, (n)."""
        losses, gathered = [], []
        for number, batch in enumerate(micro_batches, 1):
            with self._sync_context(number == len(micro_batches)):
                with self._autocast():
                    loss = self.wrapped(**self._to_device(batch))
                (loss * factor).backward()
            losses.append(loss.detach())
            if self.ranks > 1 and number % (len(micro_batches) // self.ranks) == 0:
                gathered = self._sum_by_rank(gathered, number == len(micro_batches))
        return torch.stack(losses)

    def _sync_context(self, last: bool) -> AbstractContextManager[None]:
        """The context of one micro-batch; gradients are exchanged in the `last` one alone."""
        return nullcontext()

    def _sum_by_rank(self, before: list[Tensor], last: bool) -> list[Tensor]:
        """Put the gradient of one of the ranks aside, or, at the `last`, add those before.

        A reference sums as the ranks do that it stands for: within each, then over
        them. Summed in one chain, fp32 rounds otherwise, and where a step has a kink
        (OPT's ReLU) rounding alone grows to 1e-3 in the loss within 100 steps.
        """
        gradients = self._local_gradients()
        if before:
            torch._foreach_add_(gradients, before)  # pyright: ignore[reportPrivateImportUsage]
        if not last:
            self.optimizer.zero_grad(set_to_none=True)
        return gradients

    def _clip(self, gradients: list[Tensor], norm: float) -> None:
        """Take the loss scale out of the gradient and clip it; `norm` is the whole gradient's between the two."""
        factor = 1 / self.scale.value
        if self.settings.train.max_grad_norm is not None and norm > self.settings.train.max_grad_norm:
            factor *= self.settings.train.max_grad_norm / (norm + 1e-6)
        if factor != 1:
            torch._foreach_mul_(gradients, factor)  # pyright: ignore[reportPrivateImportUsage]

    def _local_gradients(self) -> list[Tensor]:
        """This rank's gradients, as they lie in memory."""
        return [parameter.grad for parameter in self.objective.parameters() if parameter.grad is not None]

    def _square_sum(self, gradients: list[Tensor]) -> Tensor:
        """The sum of the squares of this process's part of the whole gradient; what others count is left out."""
        return engine.square_sum(gradients)

    def _sum_parts(self, square: float) -> float:
        """The sum over all parts of the gradient, of which each process knows its own."""
        return square

    def _local_model(self) -> dict:
        return self.model.state_dict()

    def _load_model(self, state: dict) -> None:
        self.model.load_state_dict(state)

    def _local_optimizer(self) -> dict:
        return self.optimizer.state_dict()

    def _load_optimizer(self, state: dict) -> None:
        engine.load_optimizer(self.optimizer, state)
