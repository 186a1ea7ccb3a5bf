"""ColossalAI's LowLevelZero plugin: ZeRO's levels 1 and 2, with and without the optimizer on the host."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from trainyard.optim import optimizers
from trainyard.parallel import process_group
from trainyard.parallel.colossalai.compat import LowLevelZeroPlugin
from trainyard.parallel.colossalai.plugin import Boosted, LossScale, gather_master, loss_scale_arguments
from trainyard.parallel.engine import EngineSettings


class LowLevelZero(Boosted):
    """Each process holds a part of AdamW's state and, at level 2, of the gradient.

    The model is cast to bf16 or fp16, with masters in fp32. At level 2 gradients are exchanged in every
    micro-batch, at level 1 once a step.
    """

    def __init__(self, objective: nn.Module, settings: EngineSettings, level: int, offload: bool) -> None:
        self.level = level
        plugin = LowLevelZeroPlugin(
            stage=level,
            precision=settings.precision,
            max_norm=settings.train.max_grad_norm or 0.0,
            cpu_offload=offload,
            overlap_communication=settings.device == "cuda",
            **loss_scale_arguments(settings),  # pyright: ignore[reportArgumentType]
        )
        before = {parameter: parameter.detach().to("cpu", copy=True) for parameter in objective.parameters()}
        super().__init__(objective, settings, plugin, optimizers.build_optimizer(objective, settings.train))
        self._start_from(before)
        self.loss_scale = LossScale(self.optimizer.mixed_precision_mixin)

    @override
    def step(self, learning_rate: float) -> tuple[float, bool]:
        scale = self.loss_scale.value or 1.0
        self._set_rate(learning_rate)
        self.optimizer.step()
        self.optimizer.zero_grad()
        skipped = self.loss_scale.update()
        return math.inf if skipped else self.optimizer.get_grad_norm() / scale, skipped

    @override
    def scale(self) -> float | None:
        return self.loss_scale.value

    @override
    def local_state(self) -> dict[str, Any]:
        return {
            "model": self.objective.state_dict(),
            "masters": self._masters(),
            "optimizer": self.optimizer.optim.state_dict(),
            "scale": self.loss_scale.state_dict(),
        }

    @override
    def load_local_state(self, state: Mapping[str, Any]) -> None:
        self.objective.load_state_dict(state["model"])
        for master, saved in zip(self._masters(), state["masters"], strict=True):
            master.copy_(saved)
        self.optimizer.optim.load_state_dict(state["optimizer"])
        self.loss_scale.load_state_dict(state["scale"])

    def _start_from(self, weights: Mapping[nn.Parameter, Tensor]) -> None:
        """Let the masters hold the weights as they were before they were cast."""
        masters, padding = self.optimizer.get_working_to_master_map(), self.optimizer.get_param_padding_map()
        for parameter, whole in weights.items():
            if id(parameter) in masters:
                padded = F.pad(whole.flatten(), (0, padding[id(parameter)]))
                masters[id(parameter)].copy_(padded.chunk(process_group.world_size())[process_group.rank()])

    @override
    def _sync_context(self, last: bool) -> AbstractContextManager[None]:
        if last or self.level == 2:
            return nullcontext()
        return self.booster.no_sync(self.boosted, self.optimizer)

    @override
    def _master(self, parameter: nn.Parameter) -> Tensor:
        mine = self.optimizer.get_working_to_master_map().get(id(parameter))
        return parameter if mine is None else gather_master(mine, parameter)  # none of a frozen one
