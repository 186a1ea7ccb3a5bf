"""ColossalAI's plugins (option `plugin`): torch-ddp, low-level-zero, gemini and hybrid."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from trainyard.errors import InputError
from trainyard.parallel import engine
from trainyard.parallel.engine import Batch, EngineSettings, Step

if TYPE_CHECKING:
    from trainyard.parallel.colossalai_boosted import Boosted

_OPTIONS = {
    "torch-ddp": set(),
    "low-level-zero": {"level", "offload"},
    "gemini": {"placement", "offload_optimizer_fraction", "offload_parameters_fraction"},
    "hybrid": {"level"},
}


class Engine(engine.Engine):
    """A model and its AdamW, spread by one of ColossalAI's plugins through its Booster."""

    @override
    @classmethod
    def start(cls, device: Literal["cpu", "cuda"]) -> None:
        super().start(device)
        if device == "cpu":
            from trainyard.parallel.colossalai_cpu import use_cpu  # noqa: PLC0415

            use_cpu()

    def __init__(self, objective: nn.Module, settings: EngineSettings) -> None:
        super().__init__(objective, settings)
        self.boosted = _boosted(objective, settings)

    @override
    def train_step(self, micro_batches: Sequence[Batch], learning_rate: float) -> Step:
        tokens = self._over_data_ranks(engine.predicted_tokens(micro_batches))
        batches = [self._to_device(batch) for batch in micro_batches]
        phase = self.boosted.phase()
        # Gradients are averaged over data ranks; this factor makes the average the mean over all tokens.
        losses = self.boosted.accumulate(batches, self.data_ranks / tokens)
        scale = self.boosted.scale()
        norm, skipped = self.boosted.step(learning_rate)
        total = self._over_data_ranks(losses.double().sum().item())
        return Step(total / tokens, norm, int(tokens), skipped=skipped, loss_scale=scale, phase=phase)

    @override
    def save(self, folder: Path) -> None:
        torch.save(self.boosted.local_state(), self._state_path(folder))

    @override
    def load(self, folder: Path) -> None:
        self.boosted.load_local_state(torch.load(self._state_path(folder), map_location="cpu", weights_only=True))

    @override
    def full_state(self) -> dict[str, Tensor] | None:
        return self.boosted.full_state()

    @override
    def loss_sum(self, batch: Batch) -> Tensor:
        return self.boosted.loss_sum(self._to_device(batch))


def _boosted(objective: nn.Module, settings: EngineSettings) -> "Boosted":
    """The objective as the option `plugin` spreads it.

    Raises:
        InputError: there is no such plugin, or an option that it doesn't have.
    """
    plugin, options = str(settings.options.get("plugin")), settings.options
    odd = options.keys() - {"plugin"} - _OPTIONS.get(plugin, set())
    if plugin not in _OPTIONS or odd:
        what = f"no option {', '.join(sorted(odd))} for {plugin}" if plugin in _OPTIONS else f"no plugin {plugin}"
        raise InputError(f"config/parallel.yaml: the engine colossalai has {what}; plugins are {', '.join(_OPTIONS)}")
    level = int(options.get("level", 0))
    if plugin == "torch-ddp":
        from trainyard.parallel.colossalai_ddp import TorchDDP  # noqa: PLC0415

        return TorchDDP(objective, settings)
    if plugin == "low-level-zero":
        from trainyard.parallel.colossalai_zero import LowLevelZero  # noqa: PLC0415

        return LowLevelZero(objective, settings, level or 2, bool(options.get("offload", False)))
    if plugin == "gemini":
        from trainyard.parallel.colossalai_gemini import Gemini, Placement  # noqa: PLC0415

        fractions = (float(options.get(f"offload_{part}_fraction", 0.0)) for part in ("optimizer", "parameters"))
        return Gemini(objective, settings, Placement(str(options.get("placement", "static")), *fractions))
    from trainyard.parallel.colossalai_hybrid import Hybrid  # noqa: PLC0415

    return Hybrid(objective, settings, level)
