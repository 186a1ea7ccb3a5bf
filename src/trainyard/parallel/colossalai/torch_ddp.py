"""ColossalAI's TorchDDP plugin: every process holds the whole model and averages gradients."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from typing_extensions import override

from trainyard.optim import optimizers
from trainyard.parallel import engine
from trainyard.parallel.colossalai.compat import TorchDDPPlugin
from trainyard.parallel.colossalai.plugin import Boosted
from trainyard.parallel.engine import EngineSettings


class TorchDDP(Boosted):
    """torch's DistributedDataParallel; in fp16 the booster's mixed precision, with torch's GradScaler.

    The booster's bf16 is an empty class in ColossalAI 0.5.0: bf16 is torch's autocast.
    """

    REPLICATED = True

    def __init__(self, objective: nn.Module, settings: EngineSettings) -> None:
        objective.to(settings.device)
        self.fp16 = settings.precision == "fp16"
        super().__init__(
            objective,
            settings,
            TorchDDPPlugin(gradient_as_bucket_view=True),  # one copy of gradients instead of two
            optimizers.build_optimizer(objective, settings.train),
            mixed_precision="fp16" if self.fp16 else None,
        )
        if self.fp16:  # the booster's is CUDA's, with no say in where it starts
            self.optimizer.scaler = torch.amp.GradScaler(settings.device, init_scale=settings.train.initial_loss_scale)

    @override
    def step(self, learning_rate: float) -> tuple[float, bool]:
        if self.fp16:
            self.optimizer.unscale_grad()
        gradients = [parameter.grad for parameter in self.objective.parameters() if parameter.grad is not None]
        norm = math.sqrt(engine.square_sum(gradients).item())
        skipped = self.fp16 and not math.isfinite(norm)
        if self.settings.train.max_grad_norm is not None and norm > self.settings.train.max_grad_norm and not skipped:
            torch._foreach_mul_(gradients, self.settings.train.max_grad_norm / (norm + 1e-6))  # pyright: ignore[reportPrivateImportUsage]
        self._set_rate(learning_rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm, skipped

    @override
    def scale(self) -> float | None:
        return self.optimizer.scaler.get_scale() if self.fp16 else None

    @override
    def local_state(self) -> dict[str, Any]:
        scaler = {"scaler": self.optimizer.scaler.state_dict()} if self.fp16 else {}
        return {"model": self.objective.state_dict(), "optimizer": self.optimizer.optim.state_dict()} | scaler

    @override
    def load_local_state(self, state: Mapping[str, Any]) -> None:
        self.objective.load_state_dict(state["model"])
        self.optimizer.optim.load_state_dict(state["optimizer"])
        if self.fp16:
            self.optimizer.scaler.load_state_dict(state["scaler"])

    @override
    def _sync_context(self, last: bool) -> AbstractContextManager[None]:
        if last:
            return nullcontext()
        wrapped = self.boosted.module if self.fp16 else self.boosted
        return self.booster.no_sync(wrapped, self.optimizer)

    @override
    def _autocast(self) -> AbstractContextManager[object]:
        if self.settings.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.settings.device, dtype=torch.bfloat16)
