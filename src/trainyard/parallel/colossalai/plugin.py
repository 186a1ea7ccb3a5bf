"""A model and its AdamW, boosted by one of ColossalAI's plugins."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from trainyard.data.labels import IGNORE_INDEX
from trainyard.optim import optimizers
from trainyard.parallel import process_group
from trainyard.parallel.colossalai.compat import Booster, Plugin
from trainyard.parallel.engine import Batch, EngineSettings, copy_to_fp32


class Boosted(ABC):
    """What ColossalAI's plugins have in common, as far as they do.

    Args:
        objective: what maps a batch to its summed loss, and holds `.model`.
        settings: the engine's.
        plugin: that spreads it.
        optimizer: over the objective's parameters.
        mixed_precision: for a plugin that leaves precision to the booster.

    Attributes:
        REPLICATED: whether every rank holds the same state.
    """

    REPLICATED: ClassVar[bool] = False

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
            with self._sync_context(number == len(batches)):
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

    def row_losses(self, batch: Batch) -> Tensor:
        """The summed loss of each row of a batch, (rows) in fp64, without dropout or gradient."""
        self.boosted.eval()
        with torch.no_grad(), self._autocast():
            losses = self._call(batch, by_row=True)
        self.boosted.train()
        return losses

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
            if process_group.rank() == 0:
                state[name] = copy_to_fp32(whole)
        return state or None

    def _call(self, batch: Batch, by_row: bool = False) -> Tensor:
        """The summed loss of a batch, or of each of its rows, through what is boosted."""
        return self.boosted(**batch, by_row=by_row)

    def _masters(self) -> list[Tensor]:
        """What this rank's optimizer steps."""
        return [master for parameters in self.optimizer.param_groups for master in parameters["params"]]

    def _master(self, parameter: nn.Parameter) -> Tensor:
        """The whole of a parameter, in fp32 where the optimizer keeps it so; all ranks call it."""
        return parameter

    def _sync_context(self, last: bool) -> AbstractContextManager[None]:
        """The context of one micro-batch; where a plugin can wait, gradients are exchanged in the `last` alone."""
        return nullcontext()

    def _autocast(self) -> AbstractContextManager[object]:
        """The context in which the objective computes; nothing where a plugin casts the model itself."""
        return nullcontext()

    def _set_rate(self, learning_rate: float) -> None:
        optimizers.set_hyperparameters(self.optimizer.param_groups, self.settings.train, learning_rate)


def gather_master(part: Tensor, parameter: Tensor, over: dist.ProcessGroup | None = None) -> Tensor:
    """The whole of a parameter's master, of which each process `over` a group holds an equal, padded part."""
    mine = part.detach().to(parameter.device)
    whole = mine.new_empty(mine.numel() * dist.get_world_size(over))
    dist.all_gather_into_tensor(whole, mine, group=over)
    return whole[: parameter.numel()].view_as(parameter)


NEVER = 2**31
"""For ColossalAI's `growth_interval`: `LossScale` doubles in its place."""

_STEPS_TO_DOUBLE = 2_000


class LossScale:
    """The scale that a plugin keeps: halved at each overflow, doubled after 2,000 steps without, as torch's is.

    ColossalAI 0.5.0 doubles between a gradient and its unscaling, which halves that step's gradient. So it is
    told never to, and this class does it after the step.

    Args:
        mixin: the plugin's, which holds the scale; anything else in bf16 and fp32, where there is none.
    """

    def __init__(self, mixin: Any) -> None:
        self._mixin = mixin if hasattr(mixin, "grad_scaler") else None
        self._steps = 0

    @property
    def value(self) -> float | None:
        """The factor that the loss is given now; None without one."""
        return None if self._mixin is None else float(self._mixin.loss_scale)

    def update(self) -> bool:
        """Take note of a step; tells whether its gradient had overflowed, so that no weight was changed."""
        if self._mixin is None:
            return False
        skipped = self._mixin.found_overflow.item() > 0
        self._steps = 0 if skipped else self._steps + 1
        if self._steps and self._steps % _STEPS_TO_DOUBLE == 0:
            self._mixin.grad_scaler._grow_scale()
        return skipped

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        if self._mixin is None:
            return {}
        return {"scaler": self._mixin.grad_scaler.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        if self._mixin is not None:
            self._mixin.grad_scaler.load_state_dict(state["scaler"])
            self._steps = state["steps"]


def loss_scale_arguments(settings: EngineSettings) -> dict[str, float]:
    """What a plugin is told of its scale."""
    return {"initial_scale": settings.train.initial_loss_scale, "growth_interval": NEVER, "hysteresis": 1}


class PlainObjective(nn.Module):
    """A model with its own head and the loss of all its logits at once."""

    def __init__(self, model: nn.Module, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.model: Any = restore_plain_head(model)
        self.label_smoothing = label_smoothing

    def forward(self, labels: Tensor, by_row: bool = False, **inputs: Tensor) -> Tensor:
        """The sum of the cross-entropy over all predicted tokens, or by row, as `Objective` gives it."""
        logits = self.model(**inputs).logits
        return sum_row_losses(logits, labels) if by_row else sum_row_losses(logits, labels, self.label_smoothing).sum()


def restore_plain_head(model: Any) -> Any:
    """The model with a head as it was before an `Objective` took it."""
    model.get_output_embeddings().__class__ = nn.Linear
    return model


def use_eager_attention(model: nn.Module) -> None:
    """Let attention go the plain way, in which ColossalAI's form of GPT-2 is causal.

    In a pipeline it makes a causal mask for the eager form alone, and transformers' `sdpa` is given none.
    """
    for module in model.modules():
        config = getattr(module, "config", None)
        if config is not None:
            config._attn_implementation = "eager"


def sum_row_losses(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The sum of the cross-entropy over the predicted tokens of each row, (batch): of fp32 losses in fp64.

    A sum of thousands in fp32 is itself a millionth of a nat per token away, as much as parity allows.

    Args:
        logits: (batch, time or more, vocabulary); beyond the labels it is padding.
        labels: (batch, time), -100 where nothing is predicted.
        label_smoothing: the part of 1 that is wanted of all tokens alike.
    """
    predictions = logits[:, : labels.shape[1]].flatten(0, 1).float()
    losses = F.cross_entropy(
        predictions,
        labels.flatten(),
        ignore_index=IGNORE_INDEX,
        reduction="none",
        label_smoothing=label_smoothing,
    )
    return losses.view_as(labels).sum(1, dtype=torch.float64)


def group_names(model: nn.Module) -> dict[int, list[str]]:
    """The names in the model's state, those of one tensor together, by the tensor's `id`."""
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    return names
