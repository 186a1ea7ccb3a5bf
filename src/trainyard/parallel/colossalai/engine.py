"""ColossalAI's plugins (option `plugin`): torch-ddp, low-level-zero, gemini and hybrid."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from trainyard.config import engine_options
from trainyard.parallel import engine
from trainyard.parallel.engine import Batch, EngineSettings, Step

if TYPE_CHECKING:
    from trainyard.parallel.colossalai.plugin import Boosted


class Engine(engine.Engine):
    """A model and its AdamW, spread by one of ColossalAI's plugins through its Booster."""

    @override
    @classmethod
    def start(cls, device: Literal["cpu", "cuda"]) -> None:
        super().start(device)
        if device == "cpu":
            from trainyard.parallel.colossalai.compat import use_cpu  # noqa: PLC0415

            use_cpu()

    def __init__(self, objective: nn.Module, settings: EngineSettings) -> None:
        super().__init__(objective, settings)
        self.boosted = _boost(objective, settings)

    @override
    def train_step(self, micro_batches: Sequence[Batch], learning_rate: float) -> Step:
        (tokens,) = self.sum_over_data_ranks([engine.count_predicted(micro_batches)])
        batches = [self._to_device(batch) for batch in micro_batches]
        phase = self.boosted.phase()
        # Gradients are averaged over data ranks; this factor makes the average the mean over all tokens.
        losses = self.boosted.accumulate(batches, self.data_ranks / tokens)
        # before the step, so that the host doesn't wait for that too
        (total,) = self.sum_over_data_ranks([losses.double().sum().item()])
        scale = self.boosted.scale()
        norm, skipped = self.boosted.step(learning_rate)
        return Step(total / tokens, norm, int(tokens), skipped=skipped, loss_scale=scale, phase=phase)

    @override
    def files(self) -> dict[str, Any]:
        return self._state_files(self.boosted.local_state)

    @override
    def load(self, folder: Path) -> None:
        self.boosted.load_local_state(torch.load(folder / self._state_file, map_location="cpu", weights_only=True))

    @override
    def full_state(self) -> dict[str, Tensor] | None:
        return self.boosted.full_state()

    @property
    @override
    def _saver(self) -> int:
        return 0 if self.boosted.REPLICATED else super()._saver

    @override
    def row_losses(self, batch: Batch) -> Tensor:
        return self.boosted.row_losses(self._to_device(batch))


def _boost(objective: nn.Module, settings: EngineSettings) -> "Boosted":
    """The objective as the option `plugin` spreads it.

    Raises:
        InputError: there is no such plugin, or an option that it doesn't have.
    """
    options: engine_options.ColossalAI = engine_options.parse_options("colossalai", settings.parallel.options)
    match options:
        case engine_options.TorchDDP():
            from trainyard.parallel.colossalai.torch_ddp import TorchDDP  # noqa: PLC0415

            return TorchDDP(objective, settings)
        case engine_options.LowLevelZero():
            from trainyard.parallel.colossalai.low_level_zero import LowLevelZero  # noqa: PLC0415

            return LowLevelZero(objective, settings, options.level, options.offload)
        case engine_options.Gemini():
            from trainyard.parallel.colossalai.gemini import Gemini, Placement  # noqa: PLC0415

            fractions = options.offload_optimizer_fraction, options.offload_parameters_fraction
            return Gemini(objective, settings, Placement(options.placement, *fractions))
        case engine_options.Hybrid():
            from trainyard.parallel.colossalai.hybrid import Hybrid  # noqa: PLC0415

            return Hybrid(objective, settings, options.level)
    raise AssertionError(options)
